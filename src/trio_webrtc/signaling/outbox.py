"""What one side still has to say to the other, in an order that can be followed, and nothing that is out of date.

A description is said before the candidates that are found after it. One that is overtaken by another before it was
said is left out; and since a description carries the candidates found so far, so are they.
"""

from dataclasses import replace
from typing import final

import trio

from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.peer_connection import PeerConnection


@final
class Outbox:
    """Takes descriptions as they are set, finds the candidates by itself, and gives out one message at a time."""

    def __init__(self, connection: PeerConnection) -> None:
        self._connection = connection
        self._answer: SessionDescription | None = None
        self._offer: SessionDescription | None = None
        self._described: set[str] = set()
        self._candidates: trio.abc.ReceiveChannel[IceCandidate] | None = None
        self._last_candidate: IceCandidate | None = None
        self._nap = trio.CancelScope()

    def put(self, description: SessionDescription) -> None:
        """Have a description that was just set said next."""
        if description.type == "offer":
            self._offer = description
        else:
            # Whoever answers has given up its own offer, and has now heard what an earlier answer would have answered.
            self._answer, self._offer = description, None
        self._described = set(description.sdp.splitlines())
        self._candidates = self._connection.local_candidates()
        self._last_candidate = None
        self._nap.cancel()

    async def next(self) -> SessionDescription | IceCandidate:
        """Wait for what is to be said next: a description comes again until `said()`.

        To be called by one task. Cancelling loses nothing.
        """
        while True:
            if (description := self._unsaid) is not None:
                return description
            candidate = None
            with trio.CancelScope() as self._nap:
                candidate = await self._next_candidate()
            if candidate is not None and self._unsaid is None:
                return candidate

    def said(self, message: SessionDescription | IceCandidate) -> None:
        """Learn that a message is on its way."""
        if message is self._answer:
            self._answer = None
        elif message is self._offer:
            self._offer = None

    @property
    def holds_description(self) -> bool:
        """Whether a description has not left yet."""
        return self._unsaid is not None

    @property
    def _unsaid(self) -> SessionDescription | None:
        return self._answer or self._offer  # an offer that waits beside an answer was made after it

    async def _next_candidate(self) -> IceCandidate:
        """Wait for a candidate that the latest description does not have; after the last, for the end of them."""
        if self._candidates is not None:
            async for candidate in self._candidates:
                self._last_candidate = candidate
                if f"a={candidate.candidate}" not in self._described:
                    return candidate
            self._candidates = None
            if (end := self._end_of_candidates()) is not None:
                return end
        await trio.sleep_forever()
        raise AssertionError

    def _end_of_candidates(self) -> IceCandidate | None:
        """Say that there are no more (RFC 8838 §13), if that is so and not said yet.

        Candidates end also where their generation does, because an offer was taken back.
        """
        is_complete = self._connection.ice_gathering_state == "complete"
        if self._last_candidate is None or not is_complete or "a=end-of-candidates" in self._described:
            return None
        return replace(self._last_candidate, candidate="")
