"""What peers may be told in place of this host's own addresses."""

import ipaddress
import re
from typing import Final

from trio_webrtc.core.ice.addresses import is_usable_remote, parse_ip
from trio_webrtc.errors import UsageError

MAX_NAME_LENGTH: Final = 253
"""RFC 1035 §2.3.4, without the length bytes at both ends."""

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"

_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.?$){_LABEL}\.?")
"""What a host may be called (RFC 1123 §2.1), and a little more: a number at the end would make it a poor address."""


def check_announced_ip(host: object) -> None:
    """Raise UsageError, which says what to give, for what is no address by which somebody else finds this host."""
    address = parse_ip(host) if isinstance(host, str) else None
    if address is None:
        raise UsageError(f"announced_hosts: {host!r} is no IP address; give one by which peers reach this host")
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        bare = str(host).partition("%")[0]
        raise UsageError(
            f"announced_hosts: the zone of {host!r} means nothing on other hosts; give {bare!r} (RFC 4007)"
        )
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise UsageError(f"announced_hosts: {host!r} is for no network; give {str(address.ipv4_mapped)!r} (RFC 8445)")
    if not is_usable_remote(address, port=1):
        raise UsageError(
            f"announced_hosts: {host!r} is not the address of one host; give one by which peers reach this one"
        )


def check_announced_host(host: object) -> None:
    """The same where a name is welcome, too."""
    if not is_name(host):
        check_announced_ip(host)


def is_name(host: object) -> bool:
    """Whether this may be what a host is called, and is no address."""
    return isinstance(host, str) and len(host) <= MAX_NAME_LENGTH and _NAME.fullmatch(host) is not None
