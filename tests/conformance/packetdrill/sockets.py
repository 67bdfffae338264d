"""The socket calls of a script, as commands to one association."""

import random
import re
from collections import deque
from dataclasses import replace

from trio_webrtc.core.sctp import Aborted, Association, Failed, Message, SctpEvent, SctpSettings
from trio_webrtc.errors import UsageError

from .script import Call

RFC_9260 = SctpSettings(rto_initial=1.0, rto_min=1.0, rto_max=60.0, sack_delay=0.2)
"""The values of RFC 9260 §16, on which the scripts count, where ours for WebRTC are others."""

MAX_PACKET_SIZE = 1480
"""The scripts count on Ethernet and IPv4: what is left of 1500 bytes behind the IP header."""

LISTENER, ACCEPTED = 3, 4

FAILED = -1
"""What a call returns that fails. Why it does is not looked at."""


class Sockets:
    """However many sockets there are: one association is behind them."""

    def __init__(self) -> None:
        self.association: Association | None = None
        self._settings = RFC_9260
        self._listens = False
        self._messages: deque[Message] = deque()
        self._told: list[SctpEvent] = []

    def call(self, call: Call, now: float) -> int:
        """Do what is called for, and return what the call returns."""
        match call.name:
            case "socket":
                return LISTENER
            case "setsockopt":
                self._set(call)
            case "getsockopt":
                return self._get(call)
            case "listen":
                self._listens = True
                self._open(now)
            case "connect" | "sctp_connectx":
                self._open(now).connect(now)
                return FAILED  # it is only begun
            case "accept":
                return ACCEPTED if self.association.is_established else FAILED
            case "write":
                return self._write(call.size, now)
            case "read":
                return self._read(now)
            case "shutdown" | "close" if not (self._listens and call.socket == LISTENER):
                self.association.shutdown(now)
            case "fcntl":
                return call.result  # nothing ever blocks
        return 0

    def _open(self, now: float) -> Association:
        self.association = Association(
            settings=self._settings, rng=random.Random(1), max_packet_size=MAX_PACKET_SIZE, now=now
        )
        return self.association

    def _set(self, call: Call) -> None:
        """Take the options for timers and streams. Heartbeats are not turned off: ours are too far apart to be seen."""
        members = call.members
        if "SCTP_RTOINFO" in call.arguments:
            timeouts = {f"rto_{name}": members[f"srto_{name}"] / 1000 for name in ("initial", "min", "max")}
            self._settings = replace(self._settings, **timeouts)
        elif "SCTP_INITMSG" in call.arguments and members["sinit_num_ostreams"]:
            self._settings = replace(self._settings, streams=members["sinit_num_ostreams"])

    def _get(self, call: Call) -> int:
        """Return 0 if the option is as the script says: what is compared is inside the arguments."""
        if "SO_ERROR" in call.arguments:
            expected = re.search(r"\[(\w+)\]", call.arguments)[1]
            return 0 if self._error() == expected else FAILED
        assert "sstat_state=SCTP_ESTABLISHED" in call.arguments
        inbound, outbound = self.association.inbound_streams, self.association.outbound_streams
        expected = call.members.get("sstat_instrms", inbound), call.members.get("sstat_outstrms", outbound)
        return 0 if self.association.is_established and expected == (inbound, outbound) else FAILED

    def _write(self, size: int, now: float) -> int:
        try:
            self.association.send(0, 0, bytes(size), now=now)
        except UsageError:
            return FAILED
        return size

    def _read(self, now: float) -> int:
        self._listen_to_association()
        if not self._messages:
            return 0 if self.association.is_ended else FAILED
        message = self._messages.popleft()
        self.association.release(message.cost, now)
        return len(message.data)

    def _error(self) -> str:
        self._listen_to_association()
        match self._told[-1:]:
            case [Failed()]:
                return "ETIMEDOUT"
            case [Aborted(by_peer=True)]:
                return "ECONNRESET"
            case [Aborted()]:
                return "ECONNABORTED"
        return "0"

    def _listen_to_association(self) -> None:
        for event in iter(self.association.poll_event, None):
            (self._messages if isinstance(event, Message) else self._told).append(event)
