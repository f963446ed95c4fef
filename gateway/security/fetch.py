"""The one way by which the gateway fetches something from a URL that a client named."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import urljoin

import httpcore
import httpx
import structlog

from gateway.errors import FetchFailed, FetchRefused
from gateway.security.addresses import Address, AddressPolicy, Network
from gateway.security.resolver import Resolver, SystemResolver
from gateway.security.urls import BadUrl, Target, parse
from gateway.settings import GatewaySettings

_ADDRESSES_TRIED = 4
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS: dict[str | bytes, str | bytes] = {
    "User-Agent": "llava-plus",
    "Accept": "image/*",
    "Accept-Encoding": "identity",
}
"""Nothing that says who asks. An answer that is compressed all the same is refused, so nothing can be inflated."""
_NO_PUBLIC_ADDRESS = "there is no public address under this name"
"""Said of names that are unknown and of those that lead inside alike: nobody learns which names a network has."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What a fetch may do. Times in seconds.

    Attributes:
        hosts: names that may have any address but those of metadata services.
        timeout_s: for everything, from the look-up of the name to the last byte.
    """

    schemes: frozenset[str] = frozenset({"https"})
    ports: frozenset[int] = frozenset({443})
    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    bytes_max: int = 15 * 2**20
    redirects_max: int = 3
    timeout_s: float = 10.0
    at_once_max: int = 8

    @classmethod
    def of(cls, settings: GatewaySettings) -> FetchLimits:
        hosts, networks = split_allowed(settings.fetch_allowed)
        return cls(
            schemes=frozenset(settings.fetch_schemes),
            ports=frozenset(settings.fetch_ports),
            hosts=frozenset(hosts),
            networks=tuple(networks),
            bytes_max=settings.image_bytes_max,
            redirects_max=settings.fetch_redirects_max,
            timeout_s=settings.fetch_timeout_s,
            at_once_max=settings.fetches_max,
        )


def split_allowed(allowed: Iterable[str]) -> tuple[list[str], list[Network]]:
    """Host names, and networks (`10.1.0.0/16`, or one address)."""
    hosts, networks = list[str](), list[Network]()
    for entry in allowed:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            hosts.append(entry.lower().removesuffix("."))
    return hosts, networks


@dataclass
class GuardedFetch:
    """Implements `gateway.ports.Fetcher`: bytes from a URL, for somebody who is not trusted.

    A name is looked up once, every address that it has must be permitted, and the connection is made to one of those
    addresses, with the name in TLS' server name, the certificate's check and the header Host. So an answer of the name
    server that is another one a moment later changes nothing. Each redirect goes through all of that again. No proxy,
    cookie, credential or client certificate is ever used.

    Args:
        tls: whose certificates are believed; the usual authorities by default.
        network: opens connections; for tests.
    """

    limits: FetchLimits
    resolver: Resolver = field(default_factory=SystemResolver)
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context)
    network: httpcore.AsyncNetworkBackend = field(default_factory=httpcore.AnyIOBackend)

    def __post_init__(self) -> None:
        self._policy = AddressPolicy(self.limits.networks)
        self._at_once = asyncio.Semaphore(self.limits.at_once_max)
        self._log = structlog.get_logger("gateway.fetch")

    def close(self) -> None:
        self.resolver.close()

    async def fetch(self, url: str) -> bytes:
        """See `gateway.ports.Fetcher.fetch`."""
        started, outcome = time.perf_counter(), "failed"
        try:
            async with asyncio.timeout(self.limits.timeout_s), self._at_once:
                data = await self._followed(url)
            outcome = "ok"
            return data
        except TimeoutError:
            outcome = "timeout"
            raise FetchFailed(f"the picture was not there within {self.limits.timeout_s:g} seconds") from None
        except FetchRefused as error:
            outcome = "refused"
            self._log.warning("fetch_refused", reason=error.reason)
            raise
        finally:
            elapsed_ms = round((time.perf_counter() - started) * 1e3)
            self._log.info("fetch", outcome=outcome, elapsed_ms=elapsed_ms)

    async def _followed(self, url: str) -> bytes:
        scheme = "https"
        for hop in range(self.limits.redirects_max + 1):
            target = self._checked(url)
            if hop and scheme == "https" and target.scheme != "https":
                raise FetchRefused("the host redirects from https to http")
            scheme = target.scheme
            async with self._answer(target) as response:
                if response.status not in _REDIRECTS:
                    return await self._body(response)
                location = _header(response, b"location")
            if not location:
                raise FetchFailed("the host redirects to nowhere")
            url = _joined(target, location)
        raise FetchFailed(f"the host redirects more than {self.limits.redirects_max} times")

    def _checked(self, url: str) -> Target:
        limits = self.limits
        try:
            return parse(url, schemes=limits.schemes, ports=limits.ports, hosts=limits.hosts)
        except BadUrl as error:
            raise FetchRefused(str(error)) from None

    @asynccontextmanager
    async def _answer(self, target: Target) -> AsyncIterator[httpcore.Response]:
        """The head of the answer to a request on a connection of its own."""
        share_s = self.limits.timeout_s / _ADDRESSES_TRIED
        backend = _Pinned(self.network, lambda: self._addresses(target), share_s)
        url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        try:
            async with (
                httpcore.AsyncConnectionPool(
                    ssl_context=self.tls, max_connections=1, max_keepalive_connections=0, network_backend=backend
                ) as pool,
                pool.stream("GET", url, headers={"Host": target.authority, **_HEADERS}) as response,
            ):
                yield response
        except (httpcore.ConnectError, httpcore.ConnectTimeout, ssl.SSLError) as error:
            reason = "has no valid certificate" if _of_tls(error) else "cannot be reached"
            raise FetchFailed(f"the host {reason}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise FetchFailed("the host broke the connection off, or does not speak HTTP") from error

    async def _addresses(self, target: Target) -> list[Address]:
        """The addresses to connect to; all that the name has are permitted, or none is used."""
        trusted = target.host in self.limits.hosts
        found = [target.address] if target.address else await self.resolver.addresses(target.host)
        if not found or not all(self._policy.permits(address, trusted=trusted) for address in found):
            raise FetchRefused(_NO_PUBLIC_ADDRESS if target.address is None else "the address is not a public one")
        return list(found)

    async def _body(self, response: httpcore.Response) -> bytes:
        if response.status != httpx.codes.OK:
            raise FetchFailed(f"the host answers with status {response.status}")
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise FetchFailed("the host sends the picture compressed, which was not asked for")
        limit = self.limits.bytes_max
        declared = _header(response, b"content-length")
        if declared.isdecimal() and int(declared) > limit:
            raise FetchFailed(f"the picture has more than {limit} bytes")
        data = bytearray()
        async for chunk in response.aiter_stream():
            data += chunk
            if len(data) > limit:
                raise FetchFailed(f"the picture has more than {limit} bytes")
        return bytes(data)


def guarded_fetch(settings: GatewaySettings) -> GuardedFetch | None:
    """The fetch that the settings ask for; None where it is turned off.

    Raises:
        OSError, ssl.SSLError: `fetch_ca_file` cannot be read.
    """
    if not settings.fetch_enabled:
        return None
    tls = httpx.create_ssl_context()
    if settings.fetch_ca_file is not None:
        tls.load_verify_locations(settings.fetch_ca_file)
    return GuardedFetch(FetchLimits.of(settings), tls=tls)


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the addresses that `addresses` gives, whatever host it is asked for.

    Args:
        share_s: the time that one of several addresses has to answer, seconds.
    """

    def __init__(
        self,
        inner: httpcore.AsyncNetworkBackend,
        addresses: Callable[[], Awaitable[Sequence[Address]]],
        share_s: float,
    ) -> None:
        self._inner = inner
        self._addresses = addresses
        self._share_s = share_s

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *first, last = (await self._addresses())[:_ADDRESSES_TRIED]
        for address in first:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._inner.connect_tcp(str(address), port, self._share_s)
        return await self._inner.connect_tcp(str(last), port)


def _joined(target: Target, location: str) -> str:
    try:
        return urljoin(target.url, location)
    except ValueError:
        raise FetchRefused("the host redirects to a URL that cannot be read") from None


def _of_tls(error: BaseException) -> bool:
    """httpcore's error of a connection tells only by its cause whether TLS is at fault."""
    return isinstance(error, ssl.SSLError) or any(
        isinstance(cause, ssl.SSLError) for cause in (error.__cause__, error.__context__)
    )


def _header(response: httpcore.Response, name: bytes) -> str:
    """A header's value, or of several the first; empty where there is none."""
    values = (value for key, value in response.headers if key.lower() == name)
    return next(values, b"").decode("latin-1").strip()
