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
        self._probe: bytes | None = None

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
            self._asked = self._new_info(now)
            self._context.outbox.send(HeartbeatChunk(self._asked))
        self.start(now)
        return missed

    def probe(self, now: float, *, anew: bool) -> HeartbeatChunk:
        """A question of which only who receives it can know the answer; unless `anew`, the last one again."""
        if anew or self._probe is None:
            self._probe = self._new_info(now)
        return HeartbeatChunk(self._probe)

    @property
    def is_probe_answered(self) -> bool:
        """Whether the last probe was answered, if there was one."""
        return self._probe is None

    def on_answer(self, answer: HeartbeatAckChunk, now: float) -> bool:
        """Take an answer; return whether it is to the question that was asked last."""
        if answer.info == self._probe:
            self._probe = None
            return True
        if answer.info != self._asked:
            return False
        asked_at, _ = _INFO.unpack(answer.info)
        self._asked = None
        self._context.rto.measured(now - self._context.began_at - asked_at)
        return True

    def _new_info(self, now: float) -> bytes:
        return _INFO.pack(now - self._context.began_at, self._context.rng.getrandbits(64))
