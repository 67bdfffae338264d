"""What an application decides before it connects: frozen, and checked when it is made.

The members with W3C's names mean what they mean there (RTCConfiguration); the others are this library's own. All
durations are seconds, all sizes bytes.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Final, Literal

from trio_webrtc.core.dtls import Certificate, DtlsSettings
from trio_webrtc.core.ice import IceSettings
from trio_webrtc.core.sctp import SctpSettings
from trio_webrtc.errors import UsageError
from trio_webrtc.shell.announcing import check_announced_ip
from trio_webrtc.shell.listening import ListenAddress
from trio_webrtc.shell.network import Interface, SocketOptions

__all__ = [
    "Certificate",
    "Configuration",
    "DtlsSettings",
    "IceServer",
    "IceSettings",
    "Interface",
    "ListenAddress",
    "SctpSettings",
    "SocketOptions",
]

DEFAULT_STUN_PORT: Final = 3478
"""RFC 7064 §3.2."""
MAX_STREAMS: Final = 65_535
"""RFC 8831 §6.2; each data channel has one of them in each direction."""

_STUN_URL = re.compile(r"stun:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]/?#@]+)(?::(?P<port>\d{1,5}))?")
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A server that tells this host its address as others see it (W3C's RTCIceServer, RFC 7064).

    `urls` is one URL or several, such as "stun:stun.example.org:3478". Raises UsageError for a URL that is none, and
    for "turn:" and "turns:", which this version does not know.
    """

    urls: str | tuple[str, ...]
    username: str | None = None
    credential: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.urls, str):
            object.__setattr__(self, "urls", tuple(self.urls))
        for url in self.all_urls:
            _parse_stun_url(url)

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The URLs, also where there is only one."""
        return (self.urls,) if isinstance(self.urls, str) else self.urls

    @property
    def stun_hosts(self) -> tuple[tuple[str, int], ...]:
        """Host name or address, and port, of each URL."""
        return tuple(_parse_stun_url(url) for url in self.all_urls)


def _parse_stun_url(url: str) -> tuple[str, int]:
    scheme = url.partition(":")[0].lower()
    if scheme in ("turn", "turns"):
        raise UsageError(f"{url!r}: TURN relays are not supported yet; leave this server out of ice_servers")
    if scheme == "stuns":
        raise UsageError(f"{url!r}: STUN over TLS is not supported; use a stun: URL")
    match = _STUN_URL.fullmatch(url)
    port = int(match["port"] or DEFAULT_STUN_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise UsageError(f"{url!r} is not a STUN URL; write stun:HOST or stun:HOST:PORT")
    return match["host"].strip("[]"), port


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How a peer connection behaves. Raises UsageError, which names what to change, for what cannot be."""

    ice_servers: Sequence[IceServer] = ()
    """STUN servers, all of them asked side by side."""
    ice_transport_policy: Literal["all", "relay"] = "all"
    """"relay" raises UsageError until TURN relays exist."""
    bundle_policy: Literal["balanced", "max-compat", "max-bundle"] = "balanced"
    """There is one transport per peer whatever this says: all that is negotiated is bundled on it (RFC 8843)."""
    certificates: Sequence[Certificate] = ()
    """The first is used. None: one is made for each connection, ECDSA on P-256."""

    interface_filter: Callable[[Interface], bool] | None = None
    """Says for each local address whether to use it. None: every useful one (loopback only where nothing else is)."""
    port_range: tuple[int, int] | None = None
    """First and last UDP port to bind to. None: whatever the system gives."""
    announced_hosts: Sequence[str] = ()
    """Addresses to tell the peer in place of the local ones of the same family: those of a one-to-one NAT or a
    container's host. A server announces its own (`ListenAddress`)."""
    resolve_local_names: bool = True
    """Whether to ask the local network for the addresses behind the names (.local, RFC 6762) that browsers signal."""
    resolve_names: bool = True
    """Whether to look up the other names that a peer signals in the place of its addresses, by this host's resolver,
    which RFC 8839 §5.1 does not ask for. Whoever answers for the name learns that somebody asks. An ICE-lite connection
    never does."""
    ice_credentials: tuple[str, str] | None = None
    """Username fragment and password (RFC 8445 §5.3). None: made from randomness."""

    ice_tcp: bool = True
    """Whether to connect by TCP to peers that can be reached so (RFC 6544), such as servers behind firewalls."""
    ice_lite: bool = False
    """Whether to leave it to the peer to find the way. That takes addresses that the peer can reach (RFC 8445 §2.5);
    peer connections of a `WebRtcServer` choose it by themselves."""

    verify_remote_certificate: bool = True
    """False leaves it to the application to check `remote_certificates`: without a check, anybody may be the peer."""

    close_timeout: float = 1.0
    """How long goodbyes may take to leave."""
    linger: float = 2.0
    """How long a clean exit waits for the peer to acknowledge what was sent."""
    restart_timeout: float = 15.0
    """How long data channels outlive an ICE failure, in which an ICE restart can revive them."""

    max_channels: int = 1024
    """Data channels at a time, whoever opened them; one that is being closed still counts. The peer's next one is
    refused, and to create one is a UsageError. Each may hold 128 KiB of the peer's choice in its label and protocol."""
    max_incoming_channels: int = 128
    """Data channels that the peer opened and nobody has accepted yet. The next one is refused."""
    max_message_size: int = 262_144
    """The largest message to take from the peer, announced to it (RFC 8841 §6)."""
    high_water_mark: int = 1_048_576
    """`send()` waits while a channel has this much accepted and not yet sent for the first time, where each message
    counts 128 bytes more than it has."""

    capture_folder: str | PathLike[str] | None = None
    """Where each connection writes its decrypted packets (pcapng) and its DTLS secrets (NSS key log). To find faults
    only: whoever reads these files reads everything. None: nowhere."""

    ice: IceSettings = field(default_factory=IceSettings)
    dtls: DtlsSettings = field(default_factory=DtlsSettings)
    sctp: SctpSettings = field(default_factory=SctpSettings)

    def __post_init__(self) -> None:
        for name in ("ice_servers", "certificates", "announced_hosts"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(f"{name} is a sequence; write {name}=[{value!r}]")
            object.__setattr__(self, name, tuple(value))
        if self.ice_transport_policy != "all":
            raise UsageError('ice_transport_policy: only "all" is possible until TURN relays are supported')
        if self.bundle_policy not in ("balanced", "max-compat", "max-bundle"):
            raise UsageError('bundle_policy: choose "balanced", "max-compat" or "max-bundle"')
        for name in ("close_timeout", "linger", "restart_timeout"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} is a number of seconds, 0 or more, and finite")
        self._check_addresses()
        self._check_sizes()

    def _check_addresses(self) -> None:
        if self.port_range is not None:
            low, high = self.port_range
            if not 0 < low <= high < 65536:
                raise UsageError(f"port_range {self.port_range}: give the first and the last port, from 1 to 65535")
        for host in self.announced_hosts:
            check_announced_ip(host)
        if self.ice_credentials is not None:
            ufrag, password = self.ice_credentials
            if not (4 <= len(ufrag) <= 256 and 22 <= len(password) <= 256):
                raise UsageError("ice_credentials: 4 to 256 characters of ufrag, 22 to 256 of password (RFC 8445 §5.3)")
            if not (_ICE_CHARS.fullmatch(ufrag) and _ICE_CHARS.fullmatch(password)):
                raise UsageError("ice_credentials: letters, digits, '+' and '/' only (RFC 8839 §5.4)")

    def _check_sizes(self) -> None:
        if not 1 <= self.max_channels <= MAX_STREAMS:
            raise UsageError(f"max_channels {self.max_channels}: 1 to {MAX_STREAMS} (RFC 8831 §6.2)")
        if self.max_incoming_channels < 1:
            raise UsageError("max_incoming_channels: at least 1")
        if self.high_water_mark < 1:
            raise UsageError("high_water_mark: at least 1 byte")
        if not 1 <= self.max_message_size <= self.sctp.receive_buffer // 2:
            raise UsageError(
                f"max_message_size {self.max_message_size}: at least 1, and at most half of "
                f"sctp.receive_buffer ({self.sctp.receive_buffer}), or one message could shut the window for good"
            )
