"""A TLS proxy in front of Valkey and Postgres, because their packaged builds do not support TLS."""

import contextlib
import datetime as dt
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# The message by which a Postgres client requests TLS; the server accepts with the byte S.
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def create_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a self-signed certificate for 127.0.0.1; return the paths of the certificate and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed_certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_path.write_bytes(signed_certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path


class TlsProxy:
    """Terminates TLS and forwards the plain text; closes connections that do not use TLS.

    Args:
        connect: opens a connection to the server behind the proxy.
        files: the paths of the certificate and of its key.
        is_postgres: whether clients first request TLS with a message of the Postgres protocol.
    """

    def __init__(
        self, connect: Callable[[], socket.socket], files: tuple[Path, Path], *, is_postgres: bool = False
    ) -> None:
        self._connect = connect
        self._is_postgres = is_postgres
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*files)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.handshakes = 0  # number of successful TLS handshakes
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if self._is_postgres:
                if client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
                    return
                client.sendall(b"S")
            with self._context.wrap_socket(client, server_side=True) as tls_client, self._connect() as server:
                self.handshakes += 1
                self._forward(tls_client, server)

    @staticmethod
    def _forward(tls_client: ssl.SSLSocket, server: socket.socket) -> None:
        """Forward both directions in one thread, because two threads must not use one TLS socket simultaneously."""
        while True:
            ready = [tls_client] if tls_client.pending() else select.select([tls_client, server], [], [])[0]
            for source, target in ((tls_client, server), (server, tls_client)):
                if source not in ready:
                    continue
                source.settimeout(0)
                try:
                    data = source.recv(65536)
                except (ssl.SSLWantReadError, BlockingIOError):
                    continue  # an incomplete record, or a session ticket
                finally:
                    source.settimeout(10)
                if not data:
                    return
                target.sendall(data)
