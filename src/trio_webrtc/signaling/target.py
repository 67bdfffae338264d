"""What a client asks a WebSocket server for: a URL (RFC 6455 §3), and what goes with it."""

import ipaddress
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import idna

from trio_webrtc.errors import UsageError

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
"""RFC 6455 §3."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 §5.6.2: the name of a header, and of a subprotocol (RFC 6455 §4.1)."""

_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110 §5.5: nothing that could begin another line."""

_REQUEST_TARGET: Final = re.compile(r"[\x21-\x7e]+")
"""RFC 9112 §3.2: everything else has to be percent-encoded."""

_HOST_NAME: Final = re.compile(r"(?=.{1,254}$)([0-9a-z_-]{1,63}\.)*[0-9a-z_-]{1,63}\.?", re.IGNORECASE)
"""RFC 1123 §2.1 and RFC 1035 §2.3.4; with "_", which private names have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketTarget:
    """A server, and what it is to be asked; made by `parse()`."""

    url: str
    host: str
    port: int
    authority: str
    """Host and port as the Host header has them (RFC 9110 §7.2)."""
    resource: str
    """Path and query."""
    ssl_context: ssl.SSLContext | None
    """How TLS is spoken; None where it is not."""
    subprotocol: str | None
    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None,
        subprotocol: str | None,
        headers: Sequence[tuple[str, str]],
    ) -> Self:
        """Take a URL apart, and check all else that a request needs.

        Raises:
            UsageError: something in it can be for no WebSocket; the text says what.
        """
        try:
            parts = urlsplit(url)
            explicit_port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise UsageError(f"the URL of a WebSocket is ws://host/... or wss://host/..., not {url!r}")
        if parts.fragment or parts.username is not None:
            raise UsageError("the URL of a WebSocket has neither a fragment nor a user's name; use headers")
        if ssl_context is not None and parts.scheme == "ws":
            raise UsageError("an ssl_context is for wss://; a ws:// server speaks no TLS")
        if subprotocol is not None and not _TOKEN.fullmatch(subprotocol):
            raise UsageError(f"a subprotocol is a word without blanks and commas, not {subprotocol!r}")
        host = _host(parts.hostname)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _REQUEST_TARGET.fullmatch(resource):
            raise UsageError(f"the path and query of a URL are ASCII without blanks: percent-encode {resource!r}")
        default_port = DEFAULT_PORTS[parts.scheme]
        port = default_port if explicit_port is None else explicit_port
        authority = f"[{host}]" if ":" in host else host
        return cls(
            url=url,
            host=host,
            port=port,
            authority=authority if port == default_port else f"{authority}:{port}",
            resource=resource,
            ssl_context=(ssl_context or ssl.create_default_context()) if parts.scheme == "wss" else None,
            subprotocol=subprotocol,
            headers=tuple(_header(name, value) for name, value in headers),
        )


def _host(name: str) -> str:
    """An IP address as it is, or a name in ASCII, such as DNS, TLS and HTTP take it (RFC 5891)."""
    try:
        if ":" in name:
            return str(ipaddress.IPv6Address(name))
        ascii_name = name if name.isascii() else idna.encode(name, uts46=True).decode()
    except ValueError as error:
        raise UsageError(f"{name!r} is no host: {error}") from None
    if not _HOST_NAME.fullmatch(ascii_name):
        raise UsageError(f"{name!r} is no host: a name is words of 1 to 63 letters, digits and hyphens, joined by dots")
    return ascii_name


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise UsageError(f"the header {name!r} has a name or a value that HTTP does not allow")
    return name.encode("ascii"), value.encode("latin-1")
