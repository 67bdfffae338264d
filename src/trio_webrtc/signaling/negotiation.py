"""negotiate(): one side of perfect negotiation (W3C webrtc-pc §10.7) between a connection and its signalling.

Offers are made when one is needed, answers when one is asked for, and candidates told as they are found. Where offers
cross, the polite side gives way and the impolite one goes on as if it had heard nothing. What W3C's example guards with
`makingOffer` cannot happen here: whether an offer may be made and making it are one step under a lock, which is never
held while something is sent, so that two sides who both wait for the other to read cannot lock each other up.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final, assert_never, final

import trio

from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.errors import InvalidDescriptionError, UsageError
from trio_webrtc.peer_connection import PeerConnection
from trio_webrtc.shell.reporting import excerpt
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.signaling.channel import Signaling
from trio_webrtc.signaling.messages import Bye, InvalidMessageError, bye_because_of
from trio_webrtc.signaling.outbox import Outbox

_logger: Final = logging.getLogger(__name__)

MAX_EARLY_CANDIDATES: Final = 64
"""Candidates kept for a description that is still to come; of more, the latest."""

FAREWELL_TIMEOUT: Final = 1.0
"""Seconds that telling the peer what is wrong with its message may take."""

_protected = trio.lowlevel.enable_ki_protection


@scope
async def negotiate(connection: PeerConnection, signaling: Signaling, *, polite: bool) -> AsyncIterator["Negotiation"]:
    """Have a connection negotiate over a signalling channel for the body of an `async with`.

    One side is to be polite and the other not; which is which is for the application to decide. Leave offers, answers
    and candidates to it: create data channels, call `connection.restart_ice()`, and it offers what is needed. A
    connection that has negotiated before, over signalling that was lost, takes up where it was, with an ICE restart;
    so it does when `signaling` comes back by itself; and it restarts ICE when the connection has failed.

    Losing the signalling ends the negotiation, not the connection, and raises nothing here: see
    `Negotiation.signaling_lost`. So do a Bye of the peer's, and a message of the peer's that cannot be followed, which
    is answered by a Bye. The end of the connection ends it, too. Leaving the scope, or cancelling it, ends the
    negotiation at once, and neither the connection nor the signalling.

    Args:
        connection: what to connect.
        signaling: the way to the peer. Nobody else may receive from it meanwhile.
        polite: whether to give way when offers cross.
    """
    negotiation = Negotiation(connection, signaling, polite=polite)
    async with UnwrappingNursery() as nursery:
        nursery.start_soon(negotiation._run)
        yield negotiation  # noqa: ASYNC119 - `scope` is a decorator like `asynccontextmanager`
        nursery.cancel_scope.cancel()


@final
class Negotiation:
    """One side's part in offer and answer, as long as it lasts; made by `negotiate()`."""

    def __init__(self, connection: PeerConnection, signaling: Signaling, *, polite: bool) -> None:
        self.signaling_lost = trio.Event()
        """Set when nothing more can be negotiated over this signalling; `reason` tells why."""
        self.bye: Bye | None = None
        """The peer's goodbye, if that was what ended it."""
        self.reason: str | None = None
        """Why nothing is negotiated any more, for people to read, in one short line; None while it is."""
        self._connection = connection
        self._signaling = signaling
        self._is_polite = polite
        self._ignores_offer = False
        self._early_candidates: deque[IceCandidate] = deque(maxlen=MAX_EARLY_CANDIDATES)
        self._outbox = Outbox(connection)
        self._turn = trio.Lock()
        self._tasks = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Negotiation {self.reason or 'under way'}>"

    @_protected
    async def _run(self) -> None:
        """Negotiate until nothing more can be."""
        with self._tasks:
            async with UnwrappingNursery() as nursery:
                nursery.start_soon(self._listen)
                nursery.start_soon(self._speak)
                nursery.start_soon(self._offer_when_needed)
                nursery.start_soon(self._take_up_after_reconnections)
                nursery.start_soon(self._follow_connection)

    def _end(self, reason: str) -> None:
        if self.reason is None:
            self.reason = excerpt(reason)
            _logger.debug("negotiation has ended: %s", self.reason)
            self._tasks.cancel()

    def _lose_signaling(self, reason: str) -> None:
        self._end(reason)
        self.signaling_lost.set()

    # -- what we say ---------------------------------------------------------------------------------------------

    @_protected
    async def _speak(self) -> None:
        # That nothing can be sent does not mean that there is nothing left to hear: `_listen()` finds the end.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                message = await self._outbox.next()
                await self._signaling.send(message)
                self._outbox.said(message)

    @_protected
    async def _offer_when_needed(self) -> None:
        needs = self._connection.negotiation_needed()
        if self._connection.local_description or self._connection.remote_description:
            await self._take_up()
        async for _ in needs:
            async with self._turn:
                # If an offer of the peer's has come meanwhile, we are told again after it what it did not settle.
                if self._connection.signaling_state == "stable":
                    await self._describe()

    @_protected
    async def _take_up_after_reconnections(self) -> None:
        async for _ in self._signaling.reconnections():
            # Looked at now: it will have been said, by the new connection, before it is our turn.
            await self._take_up(will_be_said=self._outbox.holds_description)

    async def _take_up(self, *, will_be_said: bool = False) -> None:
        """Go on where others left off: what either side said last may be lost, and the way to the peer, too.

        The peer does the same, since its end of the signalling is new as well: an offer of its own comes again.
        """
        async with self._turn:
            with suppress(trio.ClosedResourceError):  # the connection has ended
                self._connection.restart_ice()
            if self._connection.signaling_state == "have-local-offer" and not will_be_said:
                await self._describe()

    async def _describe(self) -> None:
        """Say what is due: an answer to an offer of the peer's, and otherwise an offer."""
        with suppress(trio.ClosedResourceError):  # the connection has ended
            await self._connection.set_local_description()
            assert self._connection.local_description is not None
            self._outbox.put(self._connection.local_description)

    @_protected
    async def _follow_connection(self) -> None:
        async for state in self._connection.connection_states():
            if state == "failed":
                with suppress(trio.ClosedResourceError):
                    self._connection.restart_ice()
        self._end("the connection has ended")

    # -- what we hear --------------------------------------------------------------------------------------------

    @_protected
    async def _listen(self) -> None:
        try:
            while self.reason is None:
                await self._hear(await self._receive())
        except InvalidMessageError as error:
            with trio.move_on_after(FAREWELL_TIMEOUT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._signaling.send(bye_because_of(error))
            self._lose_signaling(f"the peer sent what cannot be followed: {error}")

    async def _receive(self) -> SessionDescription | IceCandidate | Bye | None:
        """The next message, or None at the end of the signalling."""
        try:
            return await self._signaling.receive()
        except trio.EndOfChannel:
            self._lose_signaling(f"the other side has ended the signalling ({self._close_words})")
        except trio.BrokenResourceError as error:
            self._lose_signaling(f"the signalling was lost: {error.__cause__ or error or self._close_words}")
        except trio.ClosedResourceError:
            self._lose_signaling("the signalling was closed on this side")
        return None

    @property
    def _close_words(self) -> str:
        reason = self._signaling.close_reason
        return f"{self._signaling.close_code}: {reason}" if reason else f"{self._signaling.close_code}"

    async def _hear(self, message: SessionDescription | IceCandidate | Bye | None) -> None:
        with suppress(trio.ClosedResourceError):  # the connection has ended
            match message:
                case SessionDescription():
                    await self._hear_description(message)
                case IceCandidate():
                    await self._hear_candidate(message)
                case Bye(reason):
                    self.bye = message
                    self._lose_signaling(f"the peer said goodbye: {reason}" if reason else "the peer said goodbye")
                case None:
                    pass
                case _:
                    assert_never(message)

    async def _hear_description(self, description: SessionDescription) -> None:
        async with self._turn:
            is_offer = description.type == "offer"
            is_stable = self._connection.signaling_state == "stable"
            is_collision = self._connection.signaling_state == "have-local-offer"
            self._ignores_offer = is_offer and is_collision and not self._is_polite
            if self._ignores_offer or (is_stable and not is_offer) or description.type == "rollback":
                # An answer that nobody waits for is to an offer that was made anew since; and what the peer might want
                # to take back has been answered or ignored.
                return
            with _blaming_the_peer():
                # Takes back an offer of ours that is pending (RFC 9429 §4.1.10.2).
                await self._connection.set_remote_description(description)
            if is_offer:
                await self._describe()
            for _ in range(len(self._early_candidates)):
                with suppress(InvalidDescriptionError, UsageError):  # too late to tell who sent it
                    await self._take_candidate(self._early_candidates.popleft())

    async def _hear_candidate(self, candidate: IceCandidate) -> None:
        if not self._ignores_offer:
            with _blaming_the_peer():
                await self._take_candidate(candidate)
        elif candidate.username_fragment is not None:
            # Of the offer that is ignored, or not. The answer that follows tells, and may have the same fragment.
            self._early_candidates.append(candidate)

    async def _take_candidate(self, candidate: IceCandidate) -> None:
        """Add a candidate, or keep it if it has overtaken its description."""
        remote, fragment = self._connection.remote_description, candidate.username_fragment
        if remote and (fragment is None or f"a=ice-ufrag:{fragment}" in remote.sdp.splitlines()):
            await self._connection.add_ice_candidate(candidate)
        else:
            self._early_candidates.append(candidate)


@contextmanager
def _blaming_the_peer() -> Iterator[None]:
    """What the connection will not have is the peer's doing here."""
    try:
        yield
    except (InvalidDescriptionError, UsageError) as error:
        raise InvalidMessageError(str(error)) from error
