"""One data channel: what was agreed about it, and the state it is in. How it gets there: channels.py."""

import enum
from collections import deque
from dataclasses import dataclass, field


class ChannelState(enum.Enum):
    """W3C's RTCDataChannelState."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelParameters:
    """What both ends of a channel agree on (RFC 8832 §5.1), by an OPEN message or outside of it."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_packet_life_time: float | None = None
    """Seconds after which an unsent or lost message is given up."""
    negotiated: bool = False
    """Whether the application agreed on the channel by other means, so that no OPEN message travels."""
    priority: int = 256
    """The weight that travels in the OPEN message (RFC 8831 §6.4)."""


@dataclass(slots=True, kw_only=True, eq=False)
class Channel:
    """One channel, and the messages that have arrived on it and were not yet taken."""

    parameters: ChannelParameters
    id: int | None
    """The SCTP stream, the same in both directions; None until the DTLS role decides whose ids are even."""
    state: ChannelState = ChannelState.CONNECTING
    inbox: deque[tuple[str | bytes, int]] = field(default_factory=deque)
    """Complete messages in order, each with its cost: what it takes of the receive window, which bounds them all."""
    may_send_unordered: bool = False
    """RFC 8832 §6: until the peer has answered, an unordered channel sends in order, so that OPEN comes first."""
    is_wanted: bool = True
    """Whether somebody may still take messages: not so once this side has closed the channel."""
    incoming_ended: bool = False
    """The peer has reset its outgoing stream: nothing will follow what is in the inbox."""
    outgoing_ended: bool = False
    """Our outgoing stream has been reset."""
    lost_data: bool = False
    """The channel ended before all that was sent on it was acknowledged."""
    error: str | None = None
    """Why the channel was closed, where neither application asked for it."""
    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
