"""How a bundle comes into the store of a server: verified, asked for its signatures, kept with its attestations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.audit.doors import Doors
    from kedge.bundle.contents import Bundle
    from kedge.bundle.store import Store


def admit(
    store: Store,
    doors: Doors,
    archive: Path,
    advance: Callable[[int], None] | None = None,
    *,
    coming: Callable[[Bundle], object] = lambda _: None,
    lost: Callable[[str], object] = lambda _: None,
) -> Bundle:
    """Add an archive to the store if the policy lets it in, and take over the attestations beside it.

    The policy is asked of the verified private copy, before the store keeps it: what was judged is what is kept.
    Adding what is there already adds its newer attestations.

    Args:
        store: of the server.
        doors: with its policy.
        archive: a bundle archive; its attestations are ``ARCHIVE.*.dsse.json`` beside it.
        advance: told the bytes that were dealt with, as they are.
        coming: told of the bundle once the policy lets it in, before the store keeps it; what it raises keeps it out.
        lost: told its id where it did not come in after all, or not with its attestations: `coming` is void.

    Raises:
        BundleError: the archive is refused; the store is as before.
        SignatureError: the policy refuses it, with every reason; the store is as before.
        AuditError: its attestations cannot be written.
    """
    announced = []

    def asked(verified: Bundle) -> None:
        doors.admit(verified, archive)
        coming(verified)
        announced.append(verified.id)

    try:
        bundle = store.add(archive, advance, asked)
        doors.keep(bundle, archive)
    except BaseException:
        for identity in announced:
            lost(identity)
        raise
    return bundle
