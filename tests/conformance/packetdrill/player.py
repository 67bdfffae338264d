"""Lets a script happen: a world of one association, whose peer, user and clock are the script."""

import random
from collections import deque
from dataclasses import replace

from trio_webrtc.core.sctp import Aborted, Association, Failed, Message, SctpEvent, SctpSettings
from trio_webrtc.errors import UsageError

from .notation import Item
from .script import Call, Event, Packet, Script
from .wire import SeenChunk, decode_packet, differences, encode_packet

ETHERNET = 1480
"""The scripts suppose IPv4 on Ethernet: what is left of 1500 bytes behind the IP header."""

RFC_9260 = SctpSettings(rto_initial=1.0, rto_min=1.0, rto_max=60.0, sack_delay=0.2)
"""The values of RFC 9260 §16, on which the scripts count, where ours for WebRTC are others."""

_TSN_OF_OURS = {"DATA": "tsn", "INIT": "tsn", "INIT_ACK": "tsn"}
_TSN_OF_THEIRS = {"SACK": "cum_tsn", "SHUTDOWN": "cum_tsn"}


class Departure(AssertionError):
    """What the association has done is not what the script says."""


class Player:
    """Plays one script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._now = self._script_time = 0.0
        self._settings = RFC_9260
        self._association: Association | None = None
        self._listening: set[int] = set()
        self._sent: deque[tuple[float, bytes]] = deque()
        self._messages: deque[Message] = deque()
        self._told: list[SctpEvent] = []
        self._our_tag = self._their_tag = self._offered_tag = self._last_tag_injected = 0
        self._tag_in_script: int | None = None
        self._tsn_offset = 0
        """Our TSNs are random; scripts have them begin with small numbers. The peer's are as the script has them."""
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
        match event.what:
            case Packet(outbound=True, chunks=chunks):
                self._expect(chunks, None if event.pause is None else self._script_time + event.pause)
            case Packet() as packet:
                self._pass(event)
                self._inject(packet)
            case Call() as call:
                self._pass(event)
                if (result := self._call(call)) != call.result:
                    raise Departure(f"{call.name}() returned {result}")

    # -- time ------------------------------------------------------------------------------------------------------

    def _pass(self, event: Event) -> None:
        self._script_time += event.pause
        while self._fire_timer_before(self._script_time):
            pass
        self._now = max(self._now, self._script_time)

    def _fire_timer_before(self, limit: float) -> bool:
        due = self._association.next_timeout() if self._association else None
        if due is None or due >= limit:
            return False
        self._now = max(self._now, due)
        self._association.handle_timeout(self._now)
        self._collect()
        return True

    def _collect(self) -> None:
        self._sent.extend((self._now, data) for data in self._association.poll_transmits(self._now, limit=100))
        for event in iter(self._association.poll_event, None):
            (self._messages if isinstance(event, Message) else self._told).append(event)

    # -- packets ---------------------------------------------------------------------------------------------------

    def _expect(self, chunks: list[Item], when: float | None) -> None:
        tolerance = self._script.tolerance
        while not self._sent and self._fire_timer_before(float("inf") if when is None else when + tolerance):
            pass
        if not self._sent:
            raise Departure("nothing was sent")
        sent_at, data = self._sent.popleft()
        self._script_time = sent_at if when is None else when
        if abs(sent_at - self._script_time) > tolerance:
            raise Departure(f"{_names(data)} was sent at {sent_at:.3f} s instead of {when:.3f} s")
        tag, seen = decode_packet(data)
        if len(seen) != len(chunks):
            raise Departure(f"a packet with {_names(data)} was sent")
        wrong = [line for chunk, item in zip(seen, chunks, strict=True) for line in self._compare(item, chunk)]
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
            self._cookie = dict(seen.items).get(7, b"")
            if self._tag_in_script is None and expected.name == seen.name:
                self._tag_in_script, self._our_tag = expected.fields["tag"], seen.fields["tag"]
                self._tsn_offset = seen.fields["tsn"] - expected.fields["tsn"]
            if seen.fields["tag"] == self._our_tag:
                seen.fields["tag"] = self._tag_in_script
        if name := _TSN_OF_OURS.get(seen.name):
            seen.fields[name] = (seen.fields[name] - self._tsn_offset) % 2**32
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
            if name := _TSN_OF_THEIRS.get(chunk.name):
                fields[name] = (fields[name] + self._tsn_offset) % 2**32
        self._last_tag_injected = tag = tag if packet.tag is None else packet.tag
        data = encode_packet(packet.chunks, tag, bad_checksum=packet.bad_checksum)
        self._association.receive_datagrams([data], self._now)
        self._collect()

    # -- socket calls ----------------------------------------------------------------------------------------------

    def _call(self, call: Call) -> int:
        match call.name:
            case "socket":
                return 3
            case "listen":
                self._listening.add(call.socket)
                self._open()
            case "accept":
                return 4 if self._association.is_established else -1
            case "connect" | "sctp_connectx":
                self._open().connect(self._now)
                self._collect()
                return -1  # EINPROGRESS
            case "write":
                return self._write(call.size)
            case "read":
                return self._read()
            case "shutdown" | "close" if call.socket not in self._listening:
                self._association.shutdown(self._now)
                self._collect()
            case "setsockopt":
                self._set(call)
            case "getsockopt":
                return self._get(call)
            case "fcntl":
                return call.result  # nothing blocks here
        return 0

    def _open(self) -> Association:
        self._association = Association(
            settings=self._settings, rng=random.Random(1), max_packet_size=ETHERNET, now=self._now
        )
        return self._association

    def _write(self, size: int) -> int:
        try:
            self._association.send(0, 0, bytes(size), now=self._now)
        except UsageError:
            return -1
        self._collect()
        return size

    def _read(self) -> int:
        if not self._messages:
            return 0 if self._association.is_ended else -1
        message = self._messages.popleft()
        self._association.release(message.cost, self._now)
        self._collect()
        return len(message.data)

    def _set(self, call: Call) -> None:
        members = call.members
        if "SCTP_RTOINFO" in call.arguments:
            rto = {f"rto_{name}": members[f"srto_{name}"] / 1000 for name in ("initial", "min", "max")}
            self._settings = replace(self._settings, **rto)
        elif "SCTP_INITMSG" in call.arguments and members["sinit_num_ostreams"]:
            self._settings = replace(self._settings, streams=members["sinit_num_ostreams"])
        # SCTP_PEER_ADDR_PARAMS turns heartbeats off. Ours are too far apart to be seen.

    def _get(self, call: Call) -> int:
        if "SO_ERROR" in call.arguments:
            if f"[{self._error()}]" not in call.arguments:
                raise Departure(f"the association has come to {self._error()}: {self._told}")
        elif "SCTP_STATUS" in call.arguments:
            streams = {"instrms": self._association.inbound_streams, "outstrms": self._association.outbound_streams}
            for name, number in streams.items():
                if call.members.get(f"sstat_{name}", number) != number:
                    raise Departure(f"there are {number} streams as {name}")
        return 0

    def _error(self) -> str:
        match self._told[-1:]:
            case [Failed()]:
                return "ETIMEDOUT"
            case [Aborted(by_peer=True)]:
                return "ECONNRESET"
            case [Aborted()]:
                return "ECONNABORTED"
        return "0"


def _names(data: bytes) -> str:
    return " and ".join(chunk.name for chunk in decode_packet(data)[1])
