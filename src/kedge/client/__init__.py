"""Python clients: predictions over the data port, questions over the admin port."""

from __future__ import annotations

from kedge.client.admin import AdminClient
from kedge.client.aio import AsyncClient
from kedge.client.sync import Client
from kedge.client.values import ModelMetadata, Result, TensorMetadata

__all__ = ["AdminClient", "AsyncClient", "Client", "ModelMetadata", "Result", "TensorMetadata"]
