"""Credentials of the admin port that can be replaced while it listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from kedge.plane.contract import Tls


class Renewable:
    """Certificates of a gRPC server; each handshake uses the newest. Thread-safe.

    Args:
        tls: to begin with.
    """

    def __init__(self, tls: Tls) -> None:
        self._configuration = _configuration(tls)

    def renew(self, tls: Tls) -> None:
        """Use these from the next handshake on."""
        self._configuration = _configuration(tls)

    def credentials(self, *, demands: bool) -> grpc.ServerCredentials:
        """For one address.

        Args:
            demands: callers must show a certificate that the client CA signed; else none is asked for.
        """
        used = self._configuration

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal used
            newest = self._configuration
            if newest is used:
                return None
            used = newest
            return newest

        return grpc.dynamic_ssl_server_credentials(used, fetch, require_client_authentication=demands)


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(((tls.key, tls.certificate),), tls.client_ca)
