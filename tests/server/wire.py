"""The wire oracle: what a server has said to one host, in the order in which it left, from a virtual network's log."""

from dataclasses import dataclass, field

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.framing import Deframer
from trio_webrtc.testing import DatagramSent, VirtualHost, VirtualNetwork
from trio_webrtc.testing.log import LogEntry, StreamEnded, StreamReset, StreamSent

ALERT, APPLICATION_DATA = 21, 23  # record types (RFC 5246 §6.2.1)
RECORD_HEADER = 13  # bytes (RFC 6347 §4.1)

FIN, RST, HALF_A_FRAME = "FIN", "RST", "half a frame"

Word = int | str
"""The type of a DTLS record, or what became of a TCP connection."""


@dataclass
class Speech:
    """What was said on one way: a pair of addresses, and of ports for TCP."""

    transport: str
    from_: Address
    words: list[tuple[int, Word]] = field(default_factory=list)
    """Each with its place in the log."""
    _deframer: Deframer = field(default_factory=Deframer)

    def add(self, place: int, entry: LogEntry) -> None:
        match entry:
            case DatagramSent(data=data):
                self._add_records(place, data)
            case StreamSent(data=data):
                for datagram in self._deframer.feed(data):
                    self._add_records(place, datagram)
            case StreamEnded():
                self._end(place, FIN)
            case StreamReset():
                self._end(place, RST)

    def since(self, mark: int) -> list[Word]:
        """What was said from a place in the log on."""
        return [word for place, word in self.words if place >= mark]

    def _add_records(self, place: int, datagram: bytes) -> None:
        if not 20 <= datagram[0] <= 63:  # RFC 7983: the rest is STUN
            return
        at = 0
        while at < len(datagram):
            self.words.append((place, datagram[at]))
            at += RECORD_HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
        assert at == len(datagram), "whole records only"

    def _end(self, place: int, how: str) -> None:
        if self._deframer._rest:
            self.words.append((place, HALF_A_FRAME))
        self.words.append((place, how))


def said_to(host: VirtualHost, network: VirtualNetwork) -> list[Speech]:
    """What everybody else has said to a host, by the ways that it took, the latest way last."""
    assert len(network.log) < (network.log.maxlen or 0), "the log has lost its beginning"
    speeches: dict[tuple[str, Address, Address], Speech] = {}
    for place, entry in enumerate(network.log):
        if isinstance(entry, DatagramSent | StreamSent | StreamEnded | StreamReset) and entry.to[0] in host.addresses:
            transport = "udp" if isinstance(entry, DatagramSent) else "tcp"
            key = transport, entry.from_, entry.to
            speech = speeches.setdefault(key, Speech(transport, entry.from_))
            speech.add(place, entry)
    return list(speeches.values())


def goodbyes(host: VirtualHost, network: VirtualNetwork, *, from_: VirtualHost) -> int:
    """By how many ways one host has said goodbye to another; sees that close_notify was the last word but for FIN.

    Where something was lost, and had to be sent again, it is said twice.
    """
    said = 0
    for speech in said_to(host, network):
        words = speech.since(0)
        if speech.from_[0] in from_.addresses and ALERT in words:
            end: list[Word] = [ALERT] if speech.transport == "udp" else [ALERT, FIN]
            assert words[words.index(ALERT) :] in (end, [ALERT, APPLICATION_DATA, *end]), words
            said += 1
    return said


def check_goodbye(host: VirtualHost, network: VirtualNetwork, mark: int) -> None:
    """From a place in the log on: application data, then one close_notify, then FIN or silence; and nothing besides.

    What the data before the close_notify are is not to be seen from outside; who can read them says that they are an
    ABORT or a SHUTDOWN.
    """
    farewells = [(speech.transport, speech.since(mark)) for speech in said_to(host, network) if speech.since(mark)]
    assert len(farewells) == 1, f"one way is in use: {farewells}"
    transport, words = farewells[0]
    end: list[Word] = [APPLICATION_DATA, ALERT] if transport == "udp" else [APPLICATION_DATA, ALERT, FIN]
    assert words[-len(end) :] == end, words
    assert set(words[: -len(end)]) <= {APPLICATION_DATA}, words
