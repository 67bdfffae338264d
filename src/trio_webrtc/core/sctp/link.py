"""What two endpoints have agreed on, and the rooms that work on these terms."""

from dataclasses import dataclass

from trio_webrtc.core.sctp.context import Context
from trio_webrtc.core.sctp.receiving import Receiver
from trio_webrtc.core.sctp.reset import Resetter
from trio_webrtc.core.sctp.send_queue import SendQueue
from trio_webrtc.core.sctp.sending import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The outcome of INIT and INIT ACK: all that the state cookie has to carry (RFC 9260 §5.1.3)."""

    local_tag: int
    peer_tag: int
    local_initial_tsn: int
    peer_initial_tsn: int
    peer_window: int
    inbound_streams: int
    outbound_streams: int
    forward_tsn: bool
    reconfig: bool


@dataclass(slots=True)
class Link:
    """The terms, and the rooms. A restart of the peer makes a new one."""

    terms: Terms
    sender: Sender
    receiver: Receiver
    resetter: Resetter

    @classmethod
    def on(cls, terms: Terms, context: Context, queue: SendQueue) -> "Link":
        """Open the rooms on these terms."""
        writer = context.outbox.writer(terms.peer_tag)
        sender = Sender(
            context,
            queue,
            writer,
            initial_tsn=terms.local_initial_tsn,
            peer_window=terms.peer_window,
            can_abandon=terms.forward_tsn,
        )
        receiver = Receiver(
            context, writer, peer_initial_tsn=terms.peer_initial_tsn, inbound_streams=terms.inbound_streams
        )
        resetter = Resetter(
            context,
            queue,
            sender,
            receiver,
            initial_tsn=terms.local_initial_tsn,
            peer_initial_tsn=terms.peer_initial_tsn,
            supported=terms.reconfig,
        )
        return cls(terms, sender, receiver, resetter)
