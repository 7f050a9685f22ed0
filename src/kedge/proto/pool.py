"""The private descriptor pool every Kedge message lives in.

Other packages in the process may register the same symbols in protobuf's default pool (every Triton client registers
``inference.*`` there), and protobuf refuses a second, different registration of a name. A pool of our own cannot clash.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor


def _load() -> tuple[descriptor_pool.DescriptorPool, tuple[str, ...]]:
    files = descriptor_pb2.FileDescriptorSet.FromString(
        resources.files("kedge.proto").joinpath("descriptors.binpb").read_bytes()
    )
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:  # protoc writes a file after those it imports
        pool.AddSerializedFile(file.SerializeToString())
    return pool, tuple(file.name for file in files.file)


POOL, FILES = _load()
"""The pool, and the names of the files in it, such as ``inference/grpc_service.proto``."""


def file_of(symbol: str) -> FileDescriptor:
    """The file that declares a full name. Raises `KeyError` where there is none."""
    return POOL.FindFileContainingSymbol(symbol)


def module(*files: str) -> dict[str, Any]:
    """Everything a generated module holds: message classes, enums and their values, by name, of the given files."""
    names: dict[str, Any] = {}
    for file in files:
        descriptor = POOL.FindFileByName(file)
        for name, message in descriptor.message_types_by_name.items():
            names[name] = message_factory.GetMessageClass(message)
        for name, enum in descriptor.enum_types_by_name.items():
            names[name] = EnumTypeWrapper(enum)
            names.update((value.name, value.number) for value in enum.values)
    return names
