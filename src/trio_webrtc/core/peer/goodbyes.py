"""What is said to the peer when the connection ends, however it ends: innermost layer first.

Each layer's goodbye is pushed when the layer comes up; what has not come up says nothing. They leave in the opposite
order: SCTP's ABORT or SHUTDOWN, and behind it the close_notify of the DTLS session that carries it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from trio_webrtc.core.peer.stages import Secured

GOODBYE_PACKETS: Final = 4
"""SCTP packets that may leave before the connection closes; ABORT or SHUTDOWN is the last of them."""


class Goodbyes:
    """The goodbyes of one connection."""

    def __init__(self) -> None:
        self.may_shut_down = False
        """The application has waited until all that was sent was acknowledged."""
        self._pushed: list[Callable[[float], None]] = []
        self._last_words: list[bytes] = []

    def push_session(self, stage: Secured) -> None:
        """DTLS is up."""
        self._pushed.append(partial(self._leave_session, stage))

    def push_association(self, stage: Secured) -> None:
        """SCTP is up."""
        self._pushed.append(partial(self._leave_association, stage))

    def say(self, now: float) -> None:
        """Queue them all, the last that was pushed first. None keeps another from being said, not even by a bug."""
        with ExitStack() as unwinding:
            for goodbye in self._pushed:
                unwinding.callback(goodbye, now)
            self._pushed.clear()

    def _leave_association(self, stage: Secured, now: float) -> None:
        if self.may_shut_down and not stage.has_unacknowledged:
            stage.association.shutdown(now)  # which would say nothing before the last acknowledgement
        else:
            stage.association.abort("", now)
        self._last_words = stage.association.poll_transmits(now, GOODBYE_PACKETS)
        stage.send(self._last_words, now)

    def _leave_session(self, stage: Secured, now: float) -> None:
        stage.session.queue_close_notify()
        if stage.association.has_seen_loss:
            # Nobody acknowledges a goodbye. Where packets are lost, saying it twice makes it likelier to be heard.
            stage.session.repeat_goodbye(self._last_words)
