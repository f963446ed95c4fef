"""Which IP addresses a fetch may connect to: public ones, and those that an operator allows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, OpenStack and others
        "169.254.170.2",  # AWS ECS
        "169.254.170.23",  # AWS EKS
        "168.63.129.16",  # Azure's host, a public address
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS
        "fd20:ce::254",  # Google Cloud
    )
)
"""Addresses at which clouds give out credentials; no setting allows them."""

_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, with Teredo and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_IPV4_COMPATIBLE = ip_network("::/96")


class AddressPolicy:
    """Decides about addresses as numbers, so that it makes no difference how somebody spelled them.

    Args:
        allowed: networks that are not public and yet allowed, such as that of a private object store.
    """

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def permits(self, address: Address, *, trusted: bool = False) -> bool:
        """Whether a connection to the address may be made.

        An IPv6 address that stands for an IPv4 one (mapped, 6to4, NAT64, Teredo) is public never, and allowed only
        where what it stands for is permitted too.

        Args:
            trusted: an operator named the host, so that any address but those of metadata services will do.
        """
        inner = stands_for(address)
        if address in METADATA or any(one in METADATA for one in inner):
            return False
        if trusted:
            return True
        if any(address in network for network in self._allowed):
            return all(self.permits(one) for one in inner)
        return not inner and is_public(address)


def is_public(address: Address) -> bool:
    """Whether the whole internet means the same host by it."""
    if any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _GLOBAL_UNICAST):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


def stands_for(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that traffic to an IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    packed = address.packed
    if any(address in network for network in (*_NAT64, _IPV4_COMPATIBLE)) and int(address) > 1:
        found.append(IPv4Address(packed[12:]))
    if packed[8:12] in (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"):  # ISATAP
        found.append(IPv4Address(packed[12:]))
    return tuple(one for one in found if one is not None)
