"""Server reflection: which services there are, and the files that declare them.

v1 and v1alpha are the same on the wire, so both are answered with the messages of v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.errors import Code
from kedge.plane.text import quoted
from kedge.proto import pool
from kedge.proto import reflection as pb

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

SERVICES: Final = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "kedge.v1.Outcomes",
)
"""Services of the data port."""


def _closure(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    """A file, after all it imports."""
    if file.name not in found:
        for imported in file.dependencies:
            _closure(imported, found)
        found[file.name] = file


def _files() -> dict[str, FileDescriptor]:
    found: dict[str, FileDescriptor] = {}
    for service in SERVICES:
        _closure(pool.file_of(service), found)
    return found


_FILES: Final = _files()


def answer(request: pb.ServerReflectionRequest) -> pb.ServerReflectionResponse:
    """The answer to one question."""
    response = pb.ServerReflectionResponse(valid_host=request.host, original_request=request)
    kind = request.WhichOneof("message_request")
    if kind == "list_services":
        for service in SERVICES:
            response.list_services_response.service.add(name=service)
    elif kind == "file_by_filename":
        _describe(response, _FILES.get(request.file_by_filename), request.file_by_filename)
    elif kind == "file_containing_symbol":
        try:
            file = _FILES.get(pool.file_of(request.file_containing_symbol).name)
        except KeyError:
            file = None
        _describe(response, file, request.file_containing_symbol)
    elif kind is None:
        _fail(response, Code.INVALID_ARGUMENT, "the request asks nothing")
    else:
        _fail(response, Code.NOT_FOUND, "there are no extensions")
    return response


def _describe(response: pb.ServerReflectionResponse, file: FileDescriptor | None, name: str) -> None:
    if file is None:
        _fail(response, Code.NOT_FOUND, f"nothing here is called {quoted(name)}")
        return
    found: dict[str, FileDescriptor] = {}
    _closure(file, found)
    # the file asked for comes first, those it imports after it
    for described in reversed(found.values()):
        response.file_descriptor_response.file_descriptor_proto.append(described.serialized_pb)


def _fail(response: pb.ServerReflectionResponse, code: Code, message: str) -> None:
    response.error_response.error_code = code.value
    response.error_response.error_message = message
