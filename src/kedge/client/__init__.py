"""Python clients: predictions over the data port; questions, commands and the audit log over the admin port."""

from __future__ import annotations

from kedge.client.admin import AdminClient
from kedge.client.admin_aio import AsyncAdminClient
from kedge.client.admin_port import Credentials
from kedge.client.aio import AsyncClient
from kedge.client.audit import AsyncAuditClient, AuditClient
from kedge.client.outcomes import ClassIndex, Reported
from kedge.client.sync import Client
from kedge.client.values import PREDICTION_IDS, ModelMetadata, Result, TensorMetadata

__all__ = [
    "PREDICTION_IDS",
    "AdminClient",
    "AsyncAdminClient",
    "AsyncAuditClient",
    "AsyncClient",
    "AuditClient",
    "ClassIndex",
    "Client",
    "Credentials",
    "ModelMetadata",
    "Reported",
    "Result",
    "TensorMetadata",
]
