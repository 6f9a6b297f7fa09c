"""A leader that takes a connection and reads nothing of it until it is told to, with TLS or without."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

RECEIVED_BYTES = 8 * 1024
"""The receiver's buffer: little arrives, and the sender's kernel holds the rest."""
ARRIVED_BYTES = 64 * 1024
"""More than that buffer ever takes in, and less than the sender's kernel holds."""


def certify(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "leader.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem)
    return path


class StallingServer:
    """One connection, and what was read of it.

    Args:
        certificate: of a leader with TLS.
    """

    def __init__(self, certificate: Path | None = None):
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._socket.getsockname()[1]}"
        self.accepted, self.read, self.go = threading.Event(), 0, threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        connection, _ = self._socket.accept()
        connection.settimeout(30)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        self.accepted.set()
        self.go.wait(60)
        with connection:
            connection.settimeout(10)
            try:
                while piece := connection.recv(1 << 20):
                    self.read += len(piece)
            except OSError:
                pass  # the other side threw away what it had not sent

    def close(self):
        self.go.set()
        self._thread.join()
        self._socket.close()
