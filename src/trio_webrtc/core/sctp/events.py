"""What an association has to tell: the messages it delivers, and what happens between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias


class Message(NamedTuple):
    """A whole message. It counts `cost` bytes against the receive window until that is released."""

    stream_id: int
    ppid: int
    data: bytes
    cost: int


@dataclass(frozen=True, slots=True)
class Established:
    """The association is up."""

    inbound_streams: int
    outbound_streams: int


@dataclass(frozen=True, slots=True)
class IncomingStreamsReset:
    """The peer has ended these streams and will start them afresh; all that it sent on them before is delivered."""

    stream_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class OutgoingStreamsReset:
    """The peer has confirmed that these streams of ours are ended and start afresh."""

    stream_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class OutgoingResetRequested:
    """The peer wants these streams of ours to end; for those that were in use this is under way."""

    stream_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class OutgoingResetRefused:
    """The peer will not let us reset these streams."""

    stream_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class MessageTooLarge:
    """A message of more than the announced maximum, so far `size` bytes, is being dropped; the association lives."""

    stream_id: int
    size: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The peer has begun anew (RFC 9260 §5.2.4.1): what was under way is lost, and all streams start afresh."""

    streams_with_losses: Sequence[int]
    """Those on which something had been sent, and not been acknowledged."""


@dataclass(frozen=True, slots=True)
class ShutDown:
    """The association has ended gracefully: all that either side sent has arrived."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The association was ended at once, by this side or the other."""

    by_peer: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The peer does not answer any more, or never did."""

    reason: str


SctpEvent: TypeAlias = (
    Message
    | Established
    | IncomingStreamsReset
    | OutgoingStreamsReset
    | OutgoingResetRequested
    | OutgoingResetRefused
    | MessageTooLarge
    | Restarted
    | ShutDown
    | Aborted
    | Failed
)
