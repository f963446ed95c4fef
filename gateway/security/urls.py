"""URLs of pictures, taken apart strictly: what two parsers could read in two ways is refused."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, quote, urlsplit

import idna

URL_CHARS_MAX = 4096
DEFAULT_PORTS = {"https": 443, "http": 80}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"^`{|}\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.A
)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.A)
"""A last label of this kind makes a host an IPv4 address to browsers and to libc."""
_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "home.arpa", "lan")


class BadUrl(ValueError):
    """The URL is not one from which pictures are fetched; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        host: a name in ASCII without a trailing dot, or an IP address in its usual form without brackets.
        address: the host, if it is an address.
        path: path and query, as sent.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: IPv4Address | IPv6Address | None = None

    @property
    def url(self) -> str:
        """The same as a URL, for redirects to be resolved against."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """As in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, *, schemes: Collection[str], ports: Collection[int], hosts: Collection[str] = ()) -> Target:
    """Where a URL leads.

    Args:
        schemes, ports: those that are taken.
        hosts: names that are taken although they look like those of a private network.

    Raises:
        BadUrl: it leads elsewhere, or cannot be read in one way only.
    """
    if len(url) > URL_CHARS_MAX:
        raise BadUrl(f"the URL has more than {URL_CHARS_MAX} characters")
    if _FORBIDDEN.search(url):
        raise BadUrl("the URL has a character that must be percent-encoded")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise BadUrl("the URL cannot be read") from None
    if split.scheme not in schemes:
        raise BadUrl(f"only {' and '.join(sorted(schemes))} URLs are fetched")
    if "@" in split.netloc:
        raise BadUrl("a URL with a user name or password is not fetched")
    if port is None:
        port = DEFAULT_PORTS[split.scheme]
    if port not in ports:
        raise BadUrl(f"only port {' and '.join(str(one) for one in sorted(ports))} is fetched from")
    host, address = _host(split, hosts)
    path = quote(split.path or "/", safe="/%:@!$&'()*+,;=~-._[]")
    if split.query:
        path += "?" + quote(split.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return Target(split.scheme, host, port, path, address)


def _host(split: SplitResult, hosts: Collection[str]) -> tuple[str, IPv4Address | IPv6Address | None]:
    authority = split.netloc
    if authority.startswith("["):
        return _ipv6(authority)
    if authority.count(":") > 1 or "[" in authority or "]" in authority:
        raise BadUrl("the URL's host cannot be read")
    name = _ascii(authority.partition(":")[0])
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        try:
            address = IPv4Address(name)
        except AddressValueError:
            raise BadUrl("an IPv4 address is written as four decimal numbers") from None
        return str(address), address
    if name not in hosts and ("." not in name or any(name == one or name.endswith(f".{one}") for one in _LOCAL_NAMES)):
        raise BadUrl("the URL's host is not a public name")
    return name, None


def _ipv6(authority: str) -> tuple[str, IPv6Address]:
    inside, closing, rest = authority[1:].partition("]")
    if not closing or (rest and not rest.startswith(":")):
        raise BadUrl("the URL's host cannot be read")
    try:
        address = IPv6Address(inside)
    except AddressValueError:
        raise BadUrl("the URL's host cannot be read") from None
    return str(address), address


def _ascii(host: str) -> str:
    """The name as it is asked for: lower case, IDNA 2008, no dot at the end."""
    try:
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError:
        raise BadUrl("the URL's host is not a name") from None
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name):
        raise BadUrl("the URL's host is not a name")
    return name
