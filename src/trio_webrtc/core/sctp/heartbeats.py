"""Is the peer still there, while there is nothing to send? (RFC 9260 §8.3)."""

import struct
from typing import Final

from trio_webrtc.core.sctp.chunks.heartbeat import HeartbeatAckChunk, HeartbeatChunk
from trio_webrtc.core.sctp.context import Context, Timer

_INFO: Final = struct.Struct("!dQ")


class Heartbeats:
    """Asks now and then, and learns the round trip from the answers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: bytes | None = None

    def start(self, now: float) -> None:
        """Ask after the next interval."""
        context = self._context
        # RFC 9260 §8.3: HB.interval and an RTO, spread by half of it, so that peers do not fall in step.
        pause = context.settings.heartbeat_interval + context.rto.value * context.rng.uniform(0.5, 1.5)
        context.timers.set(Timer.HEARTBEAT, now + pause)

    def on_timeout(self, is_idle: bool, now: float) -> bool:
        """Ask, if nothing else is under way that would be answered. Return whether the last question was not."""
        missed = self._asked is not None
        self._asked = None
        if is_idle:
            self._asked = _INFO.pack(now - self._context.began_at, self._context.rng.getrandbits(64))
            self._context.outbox.send(HeartbeatChunk(self._asked))
        self.start(now)
        return missed

    def on_answer(self, answer: HeartbeatAckChunk, now: float) -> bool:
        """Take an answer; return whether it is to the question that was asked last."""
        if answer.info != self._asked:
            return False
        asked_at, _ = _INFO.unpack(answer.info)
        self._asked = None
        self._context.rto.measured(now - self._context.began_at - asked_at)
        return True
