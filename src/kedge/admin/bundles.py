"""The store, from afar: which bundles it holds, and new ones by upload."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final

from kedge.admin.commands import check_reason
from kedge.admin.handlers import Method, Places
from kedge.admin.patience import impatient
from kedge.admin.uploads import check_attestations
from kedge.audit.record import compose
from kedge.bundle.archive import MANIFEST
from kedge.errors import Code, RequestError
from kedge.proto import admin as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kedge.admin.handlers import Call
    from kedge.admin.uploads import Uploads
    from kedge.audit.record import Draft
    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Entry, Store
    from kedge.rollout.manager import Rollouts

UPLOADERS: Final = 4
"""At once; each holds a thread of the admin port."""
OF_ONE_CALLER: Final = 3
"""Of those: nobody keeps all others out."""
IDLE_SECONDS: Final = 30.0
"""Without a message from an uploader: what has arrived stays, and the call ends. It goes on with another."""
RECEIVED: Final = "bundle.uploaded"

log = logging.getLogger(__name__)


class Bundles:
    """ListBundles, GetBundle, UploadBundle and QueryUpload.

    Args:
        store: what is listed.
        rollouts: where bundles stand.
        uploads: where archives arrive.
        admit: takes an archive into the store, if it may come in.
        received: records that a bundle came in.
    """

    def __init__(
        self,
        store: Store,
        rollouts: Rollouts,
        uploads: Uploads,
        admit: Callable[[Path], Bundle],
        received: Callable[[Draft], object],
    ) -> None:
        self._store = store
        self._rollouts = rollouts
        self._uploads = uploads
        self._admit = admit
        self._received = received
        self._places = Places(UPLOADERS, "uploads are under way", OF_ONE_CALLER)

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "ListBundles": Method(pb.ListBundlesRequest, self.listed),
            "GetBundle": Method(pb.GetBundleRequest, self.get),
            "UploadBundle": Method(pb.UploadBundleRequest, self.upload, collects=True),
            "QueryUpload": Method(pb.QueryUploadRequest, self.query),
        }

    def listed(self, request: pb.ListBundlesRequest, _call: Call) -> pb.ListBundlesResponse:
        """Answer ListBundles."""
        return pb.ListBundlesResponse(
            bundles=[self._bundle(entry) for entry in self._store.list() if request.model in {"", entry.name}],
            damaged=self._store.damaged(),
        )

    def get(self, request: pb.GetBundleRequest, _call: Call) -> pb.GetBundleResponse:
        """Answer GetBundle."""
        bundle = self._store.get(request.reference)
        return pb.GetBundleResponse(bundle=self._bundle(bundle), manifest=(bundle.directory / MANIFEST).read_bytes())

    def query(self, request: pb.QueryUploadRequest, call: Call) -> pb.QueryUploadResponse:
        """Answer QueryUpload."""
        return pb.QueryUploadResponse(offset=self._uploads.offset(_owner(call), request.sha256))

    def upload(self, requests: Iterator[pb.UploadBundleRequest], call: Call) -> pb.UploadBundleResponse:
        """Answer UploadBundle."""
        requests = impatient(requests, IDLE_SECONDS, call.end)
        with self._places.one(_owner(call)), contextlib.closing(requests):  # before anything is waited for
            first = next(requests, None)
            if first is None or first.WhichOneof("part") != "header":
                raise RequestError(Code.INVALID_ARGUMENT, "an upload begins with its header")
            return self._receive(first.header, requests, call)

    def _receive(
        self, header: pb.UploadHeader, requests: Iterator[pb.UploadBundleRequest], call: Call
    ) -> pb.UploadBundleResponse:
        check_reason(header.reason)
        check_attestations(header.attestations)
        with self._uploads.begin(_owner(call), header.sha256, header.size) as upload:
            for request in requests:
                if request.WhichOneof("part") != "chunk":
                    raise RequestError(Code.INVALID_ARGUMENT, "after the header come chunks and nothing else")
                upload.write(request.chunk.offset, request.chunk.data)
            bundle = upload.finish(header.attestations, self._admit)
        try:
            self._record(bundle, header, call)
        except BaseException:
            self._rollouts.withdraw(bundle.id)  # nothing comes in without a record
            raise
        return pb.UploadBundleResponse(bundle=self._bundle(bundle))

    def _record(self, bundle: Bundle, header: pb.UploadHeader, call: Call) -> None:
        self._received(
            compose(
                action=RECEIVED,
                actor=call.caller.actor,
                model=bundle.name,
                bundle=bundle.id,
                rationale=header.reason,
                details={"archive_sha256": header.sha256, "size": header.size},
            )
        )
        log.info("bundle uploaded", extra={"data": {"bundle": bundle.id, "by": call.caller.actor.name}})

    def _bundle(self, item: Entry | Bundle) -> pb.Bundle:
        known = self._rollouts.bundles().get(item.id)
        return pb.Bundle(
            id=item.id,
            name=item.name,
            version=item.version,
            size=sum(file.size for file in item.manifest.files),
            state=known.state.value if known else "",
            reason=known.reason if known else "",
        )


def _owner(call: Call) -> str:
    """Whose upload it is: callers see and go on with their own alone."""
    actor = call.caller.actor
    return f"{actor.authenticated_by} {actor.name}"
