"""Which transport addresses may speak with each other."""

import ipaddress
from typing import TypeAlias

from trio_webrtc.core.contract import Address

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(host: str) -> IpAddress | None:
    """The IP address that `host` is the text of, or None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def without_scope(host: str) -> str:
    """An address as candidates carry it: a zone means something on its own host only (RFC 4007 §6)."""
    return host.partition("%")[0]


def is_usable_remote(address: IpAddress, port: int) -> bool:
    """Whether a datagram to there may find one peer.

    RFC 8445 §5.1.1.1 rules IPv4-mapped addresses out; nothing makes us send to a crowd.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    if address == ipaddress.ip_address("255.255.255.255"):
        return False
    return 0 < port < 65536 and not address.is_unspecified and not address.is_multicast


def destination(base: Address, remote: IpAddress, port: int) -> Address | None:
    """Where to send from `base` in order to reach `remote`, or None if there is no way between them.

    Only addresses of one family speak with each other, and link-local IPv6 with its like only (RFC 8445 §6.1.2.2),
    over the interface that the base belongs to. Loopback is not kept apart: a peer on this host that gathers no
    loopback candidates is reached from there all the same; where it is on another host the send fails and says why.
    """
    local = parse_ip(base[0])
    if local is None or local.version != remote.version:
        return None
    if remote.version == 6 and local.is_link_local != remote.is_link_local:
        return None
    host = without_scope(str(remote))
    if remote.version == 6 and remote.is_link_local and (scope := base[0].partition("%")[2]):
        host = f"{host}%{scope}"
    return host, port


def may_ask(base: Address, server: Address) -> bool:
    """Whether a STUN server can be asked from `base`; from the loopback only one on the loopback."""
    local, remote = parse_ip(base[0]), parse_ip(server[0])
    return (
        local is not None
        and remote is not None
        and destination(base, remote, server[1]) is not None
        and (remote.is_loopback or not local.is_loopback)
    )
