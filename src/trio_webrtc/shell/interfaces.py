"""The addresses of this host (by ifaddr), without those that the kernel marks as not to be used."""

import ipaddress
from pathlib import Path
from typing import Final

import ifaddr

from trio_webrtc.shell.network import Interface

_IF_INET6: Final = Path("/proc/net/if_inet6")
_UNUSABLE_FLAGS: Final = 0x08 | 0x20 | 0x40
"""Linux's IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE (RFC 4862 §5.4, §5.5.4)."""


def list_interfaces() -> list[Interface]:
    """Every local address that a socket could be bound to, in the system's order."""
    unusable = _unusable_ipv6_addresses()
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else _ipv6_text(ip.ip, adapter.name)
            if host not in unusable:
                found.append(Interface(adapter.name, host))
    return found


def _ipv6_text(ip: tuple[str, int, int], name: str) -> str:
    address = ipaddress.IPv6Address(ip[0].partition("%")[0])
    return f"{address}%{name}" if address.is_link_local else str(address)


def _unusable_ipv6_addresses() -> set[str]:
    """IPv6 addresses that are tentative, duplicates or deprecated, where the kernel tells (Linux)."""
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return set()
    unusable = set()
    for line in lines:
        digits, _, _, _, flags, name = line.split()
        if int(flags, 16) & _UNUSABLE_FLAGS:
            unusable.add(_ipv6_text((str(ipaddress.IPv6Address(bytes.fromhex(digits))), 0, 0), name))
    return unusable
