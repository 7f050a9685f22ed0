"""Certificates of a port: read at the start, and again while serving, so that a renewed one needs no restart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from kedge import pem
from kedge.errors import ConfigError, KedgeError
from kedge.plane.contract import Tls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kedge.config import Settings

LOOK_SECONDS: Final = 10.0
"""Between two looks at the files."""

log = logging.getLogger(__name__)


class Certificates:
    """The files of one port. Not thread-safe.

    Args:
        settings: which files.
        port: what their settings begin with: empty for the data port, ``admin_``.

    Attributes:
        tls: what they hold, or None where the port has no TLS.

    Raises:
        ConfigError: a file cannot be read, or is not PEM.
    """

    def __init__(self, settings: Settings, port: str = "") -> None:
        self._files: dict[str, Path | None] = {
            f"--{port}tls-{name}".replace("_", "-"): getattr(settings, f"{port}tls_{name.replace('-', '_')}")
            for name in ("cert", "key", "client-ca")
        }
        self.tls = self._read()
        self._refused: Tls | None = None
        self._said = ""

    def renew(self, use: Callable[[Tls], object]) -> None:
        """Look at the files, and hand on what they hold now where that is new and fits together.

        What does not (a pair half replaced, a file gone) is said once in the log, and what was used before stays.
        """
        try:
            found = self._read()
            if found is None or found in (self.tls, self._refused):
                self._said = ""
                return
            self._refused = found
            check(found)
            use(found)
        except KedgeError as error:
            if str(error) != self._said:
                log.warning(
                    "renewed certificates cannot be used; the ones before stay", extra={"data": {"why": str(error)}}
                )
            self._said = str(error)
        else:
            self.tls, self._refused, self._said = found, None, ""
            log.info("certificates renewed", extra={"data": {"file": str(next(iter(self._files.values())))}})

    def _read(self) -> Tls | None:
        certificate, key, client_ca = (
            None if path is None else pem.read(path, flag) for flag, path in self._files.items()
        )
        return None if certificate is None or key is None else Tls(certificate, key, client_ca)


def check(tls: Tls) -> None:
    """Check that a key is that of its certificate, and that the CA is one.

    Raises:
        ConfigError: saying what does not fit.
    """
    try:
        certificate = x509.load_pem_x509_certificates(tls.certificate)[0]
        key = serialization.load_pem_private_key(tls.key, password=None)
        if tls.client_ca is not None:
            x509.load_pem_x509_certificates(tls.client_ca)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError("a certificate or key is damaged, or the key is encrypted") from error
    if certificate.public_key() != key.public_key():
        raise ConfigError("the key is not that of the certificate; replace both")
