"""Lets a script happen: the peer, the user and the clock of an association are the script."""

import math
from collections import deque

from .notation import Item
from .script import Call, Event, Packet, Script
from .sockets import Sockets
from .wire import STATE_COOKIE, SeenChunk, decode_packet, differences, encode_packet


class Departure(AssertionError):
    """The association has not done what the script says."""


class Player:
    """Plays one script, once.

    Our tag and TSNs are random, and others in scripts; the peer's are as the script has them.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._sockets = Sockets()
        self._now = self._script_time = 0.0
        self._sent: deque[tuple[float, bytes]] = deque()
        """What has left and is not yet expected, and when it left."""
        self._our_tag = self._their_tag = self._offered_tag = self._last_tag_injected = 0
        self._our_tag_in_script: int | None = None
        self._tsn_offset = 0
        self._cookie = b""

    def play(self) -> None:
        """Raise Departure if the association does anything else than the script says."""
        for event in self._script.events:
            try:
                self._happen(event)
            except Departure as departure:
                raise Departure(f"{departure}\nat {self._now:.3f} s, where the script says: {event.text}") from None
        if self._sent:
            raise Departure(
                f"{_names(self._sent[0][1])} was sent before the end of the script, which knows nothing of it"
            )

    def _happen(self, event: Event) -> None:
        when = math.inf if event.pause is None else self._script_time + event.pause
        match event.what:
            case Packet(outbound=True, chunks=chunks):
                self._expect(chunks, when)
            case Packet() as packet:
                self._pass_until(when)
                self._inject(packet)
            case Call() as call:
                self._pass_until(when)
                result = self._sockets.call(call, self._now)
                self._collect()
                if result != call.result:
                    raise Departure(f"the call returned {result}")

    # -- time ------------------------------------------------------------------------------------------------------

    def _pass_until(self, when: float) -> None:
        while self._fire_timer_before(when):
            pass
        self._script_time, self._now = when, max(self._now, when)

    def _fire_timer_before(self, limit: float) -> bool:
        association = self._sockets.association
        due = association.next_timeout() if association else None
        if due is None or due >= limit:
            return False
        self._now = max(self._now, due)
        association.handle_timeout(self._now)
        self._collect()
        return True

    def _collect(self) -> None:
        if (association := self._sockets.association) is not None:
            self._sent.extend((self._now, data) for data in association.poll_transmits(self._now, limit=100))

    # -- packets ---------------------------------------------------------------------------------------------------

    def _expect(self, chunks: list[Item], when: float) -> None:
        while not self._sent and self._fire_timer_before(when + self._script.tolerance):
            pass
        if not self._sent:
            raise Departure("nothing was sent")
        sent_at, data = self._sent.popleft()
        self._script_time = sent_at if when == math.inf else when
        if abs(sent_at - self._script_time) > self._script.tolerance:
            raise Departure(f"{_names(data)} was sent at {sent_at:.3f} s instead of {when:.3f} s")
        tag, seen = decode_packet(data)
        if len(seen) != len(chunks):
            raise Departure(f"a packet with {_names(data)} was sent")
        wrong = [line for item, chunk in zip(chunks, seen, strict=True) for line in self._compare(item, chunk)]
        if tag != self._expected_tag(seen[0]):
            wrong.append(f"{_names(data)} with verification tag {tag:#x}")
        if wrong:
            raise Departure("; ".join(wrong))

    def _expected_tag(self, first: SeenChunk) -> int:
        """RFC 9260 §8.5: 0 for INIT, the tag of what is answered where the T bit says so, else the peer's tag."""
        if first.name == "INIT":
            return 0
        if first.name in ("ABORT", "SHUTDOWN_COMPLETE") and first.fields["flgs"]:
            return self._last_tag_injected
        return self._offered_tag if first.name == "INIT_ACK" or not self._their_tag else self._their_tag

    def _compare(self, expected: Item, seen: SeenChunk) -> list[str]:
        if seen.name in ("INIT", "INIT_ACK"):
            self._cookie = dict(seen.items).get(STATE_COOKIE, b"")
            if self._our_tag_in_script is None and expected.name == seen.name:
                self._our_tag, self._our_tag_in_script = seen.fields["tag"], expected.fields["tag"]
                self._tsn_offset = seen.fields["tsn"] - expected.fields["tsn"]
            if seen.fields["tag"] == self._our_tag:
                seen.fields["tag"] = self._our_tag_in_script
        if seen.name in ("INIT", "INIT_ACK", "DATA"):
            seen.fields["tsn"] = (seen.fields["tsn"] - self._tsn_offset) % 2**32
        return differences(expected, seen)

    def _inject(self, packet: Packet) -> None:
        tag = self._our_tag
        for chunk in packet.chunks if isinstance(packet.chunks, list) else []:
            fields = chunk.fields
            match chunk.name:
                case "INIT":
                    tag, self._offered_tag = 0, fields["tag"]
                case "INIT_ACK":
                    self._their_tag = fields["tag"]
                case "COOKIE_ECHO" if fields["val"] is ...:
                    fields["val"], self._their_tag = self._cookie, self._offered_tag
                case "ABORT" | "SHUTDOWN_COMPLETE" if fields["flgs"] == "T":
                    tag = self._their_tag
                case "SACK" | "SHUTDOWN":
                    fields["cum_tsn"] = (fields["cum_tsn"] + self._tsn_offset) % 2**32
        self._last_tag_injected = tag = tag if packet.tag is None else packet.tag
        data = encode_packet(packet.chunks, tag, bad_checksum=packet.bad_checksum)
        self._sockets.association.receive_datagrams([data], self._now)
        self._collect()


def _names(data: bytes) -> str:
    return " and ".join(chunk.name for chunk in decode_packet(data)[1])
