"""A web server on loopback that says exactly what a test wants, with certificates of a made-up authority."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import httpcore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.security.addresses import Address

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Writes the answer to a request's head."""


@cache
def authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Made-up authority")])
    builder = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = {name: name in ("key_cert_sign", "crl_sign") for name in _USAGES}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def believing() -> ssl.SSLContext:
    """A client's context that believes the made-up authority and no other."""
    pem = authority()[1].public_bytes(serialization.Encoding.PEM).decode()
    return ssl.create_default_context(cadata=pem)


def server_tls(folder: Path, *names: str) -> ssl.SSLContext:
    """A server's context with a certificate for names or addresses."""
    signer, issuer = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(subject, issuer.subject, key).add_extension(
        x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
    )
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())
    pem = folder / f"{abs(hash(names))}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


@dataclass
class Visit:
    """One request: its head, and the name that TLS was asked for."""

    head: bytes
    server_name: str | None

    @property
    def path(self) -> str:
        return self.head.split()[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


@dataclass
class Website:
    """What `answers` says by path; `visits` are the requests that came."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """A client closed its connection before it had everything."""


@asynccontextmanager
async def website(tls: ssl.SSLContext) -> AsyncIterator[Website]:
    site = Website()
    names: dict[object, str | None] = {}

    def remember(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        names[connection] = name

    tls.sni_callback = remember  # type: ignore[assignment]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            visit = Visit(head, names.get(writer.get_extra_info("ssl_object")))
            site.visits.append(visit)
            answering = asyncio.ensure_future(site.answers[visit.path.partition("?")[0]](head, writer))
            leaving = asyncio.ensure_future(reader.read(1))
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if answering.cancel():
                site.left.set()
            leaving.cancel()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            return
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


def says(body: bytes = b"", status: str = "200 OK", **headers: str) -> Answer:
    """A whole answer with its length; `headers` have underscores for dashes."""

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        fields = {"Content-Length": str(len(body)), "Connection": "close"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


def redirects(to: str, **headers: str) -> Answer:
    return says(status="302 Found", Location=to, **headers)


@dataclass
class Names:
    """A resolver that knows what it is told: the answers to a name, one after the other, the last for ever."""

    known: dict[str, list[Sequence[str]]]
    asked: list[str] = field(default_factory=list)

    async def addresses(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        answers = self.known.get(host, [()])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(text) for text in found]

    def close(self) -> None:
        return None


@dataclass
class Wires(httpcore.AsyncNetworkBackend):
    """A network in which every address leads to one server on loopback, but those that are `dead`."""

    port: int
    connected: list[tuple[str, int]] = field(default_factory=list)
    dead: frozenset[str] = frozenset()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("nobody there")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port)


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
