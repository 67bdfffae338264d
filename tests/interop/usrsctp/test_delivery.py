"""Messages cross in both directions, whole and in order, whatever the network does and however slow a reader is."""

import random

import pytest

from trio_webrtc.core.sctp import SctpSettings

from .meeting import Meeting, by_stream

MILLION = 1_000_000
WRAPS_SOON = SctpSettings(initial_tsn=2**32 - 100)


class Traffic:
    """Messages to be sent by one side, as fast as it takes them."""

    def __init__(self, rng: random.Random, total: int, largest: int, streams: int) -> None:
        self.streams = streams
        self.messages: list[bytes] = []
        while total > 0:
            self.messages.append(rng.randbytes(min(total, rng.randint(1, largest))))
            total -= len(self.messages[-1])
        self.sent = 0

    def push(self, send) -> None:
        """Have `send` take messages until it says no."""
        while self.sent < len(self.messages) and send(self.sent % self.streams, self.messages[self.sent]):
            self.sent += 1

    def arrived(self, messages) -> bool:
        return len(messages) == len(self.messages)

    def expected(self) -> dict[int, list[bytes]]:
        return {stream_id: self.messages[stream_id :: self.streams] for stream_id in range(self.streams)}


def exchange(
    meeting: Meeting, *, largest: int, total: int = MILLION, streams: int = 5, unordered: bool = False, **network: float
):
    """Send so many bytes both ways; return what was sent by us and by them when all of it has arrived."""
    ours, theirs = (Traffic(meeting.rng, total, largest, streams) for _ in range(2))

    def send_ours(stream_id: int, data: bytes) -> bool:
        if meeting.ours.unacknowledged_total > MILLION:
            return False
        meeting.ours.send(stream_id, 51, data, unordered=unordered, now=meeting.now)
        return True

    def step() -> bool:
        ours.push(send_ours)
        theirs.push(lambda stream_id, data: meeting.theirs.send(stream_id, data, unordered=unordered))
        return ours.arrived(meeting.theirs.inbox) and theirs.arrived(meeting.our_inbox)

    assert meeting.pass_time(300.0, until=step, **network), (
        f"{len(meeting.theirs.inbox)} of {len(ours.messages)} and "
        f"{len(meeting.our_inbox)} of {len(theirs.messages)} messages: {meeting.ours.counters}"
    )
    return ours, theirs


@pytest.mark.parametrize("size", [1, 3, 4, 1171, 1172, 1173, 2345, 65_536, 262_144])
@pytest.mark.parametrize("unordered", [False, True])
def test_messages_of_every_size_arrive_as_they_were(meet, size, unordered):
    meeting = meet(seed=size).connect()
    data = meeting.rng.randbytes(size)
    meeting.ours.send(7, 50, data, unordered=unordered, now=meeting.now)
    assert meeting.theirs.send(7, data, ppid=50, unordered=unordered)
    assert meeting.pass_time(20.0, until=lambda: meeting.our_inbox and meeting.theirs.inbox)
    assert [message[:3] for message in meeting.our_inbox] == [(7, 50, data)]
    assert meeting.theirs.inbox == [(7, 50, data, unordered)]


@pytest.mark.parametrize("settings", [SctpSettings(), WRAPS_SOON], ids=["tsn-anywhere", "tsn-wraps"])
@pytest.mark.parametrize("largest", [100, 5_000, 262_144])
@pytest.mark.parametrize("seed", range(3))
def test_a_million_bytes_cross_both_ways_over_a_network_that_loses_and_reorders(meet, seed, largest, settings):
    meeting = meet(seed=seed, settings=settings).connect(from_="both")
    ours, theirs = exchange(
        meeting, largest=largest, total=MILLION if largest > 100 else MILLION // 10, loss=0.05, jitter=0.01
    )
    assert by_stream(meeting.theirs.inbox) == ours.expected()
    assert by_stream(meeting.our_inbox) == theirs.expected()


@pytest.mark.parametrize("seed", range(3))
def test_a_million_unordered_bytes_cross_both_ways(meet, seed):
    meeting = meet(seed=seed).connect()
    ours, theirs = exchange(meeting, largest=30_000, unordered=True, loss=0.05, jitter=0.01)
    assert sorted(message.data for message in meeting.theirs.inbox) == sorted(ours.messages)
    assert sorted(message.data for message in meeting.our_inbox) == sorted(theirs.messages)


@pytest.mark.parametrize("largest", [10, 100, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_all_arrives_through_small_windows(meet, seed, largest):
    meeting = meet(
        seed=seed, settings=SctpSettings(receive_buffer=65_536, max_message_size=32_768), receive_buffer=65_536
    ).connect()
    ours, theirs = exchange(meeting, largest=largest, total=MILLION if largest > 1000 else 30_000, loss=0.02)
    assert by_stream(meeting.theirs.inbox) == ours.expected()
    assert by_stream(meeting.our_inbox) == theirs.expected()


@pytest.mark.parametrize("size", [10, 1000, 20_000])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_they_read_late_and_get_everything(meet, size, loss):
    meeting = meet(receive_buffer=100_000).connect()
    meeting.theirs_reads = False
    sent = [meeting.rng.randbytes(size) for _ in range(500_000 // max(size, 500))]
    for data in sent:
        meeting.ours.send(1, 51, data, now=meeting.now)
    meeting.pass_time(100.0, loss=loss)
    assert meeting.ours.is_established
    if size >= 1000:
        assert meeting.ours.unacknowledged_total > 300_000
    meeting.theirs_reads = True
    assert meeting.pass_time(100.0, until=lambda: len(meeting.theirs.inbox) == len(sent), loss=loss)
    assert [message.data for message in meeting.theirs.inbox] == sent


@pytest.mark.parametrize("size", [10, 1000, 20_000])
@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_we_read_late_and_get_everything(meet, size, loss):
    settings = SctpSettings(receive_buffer=100_000, max_message_size=50_000)
    meeting = meet(settings=settings, send_buffer=4 * MILLION).connect()
    meeting.ours_reads = False
    sent = [meeting.rng.randbytes(size) for _ in range(500_000 // max(size, 500))]
    for data in sent:
        assert meeting.theirs.send(1, data)
    meeting.pass_time(100.0, loss=loss)
    assert meeting.ours.is_established
    reassembly = meeting.ours.state.link.receiver.reassembly
    assert reassembly.held + reassembly.delivered <= 2 * settings.receive_buffer
    meeting.ours_reads = True
    assert meeting.pass_time(100.0, until=lambda: len(meeting.our_inbox) == len(sent), loss=loss)
    assert [message.data for message in meeting.our_inbox] == sent


def test_stream_sequence_numbers_wrap_round_in_both_directions(meet):
    meeting = meet().connect()
    ours, theirs = exchange(meeting, largest=1, total=70_000, streams=1, loss=0.01)
    assert by_stream(meeting.theirs.inbox) == ours.expected()
    assert by_stream(meeting.our_inbox) == theirs.expected()


def test_a_message_that_they_send_in_parts_arrives_as_one(meet):
    meeting = meet().connect()
    meeting.theirs.set_explicit_ends()
    parts = [meeting.rng.randbytes(size) for size in (10, 5_000, 1, 70_000)]
    for part in parts[:-1]:
        assert meeting.theirs.send(1, part, ends=False)
        meeting.pass_time(1.0, loss=0.05)
        assert meeting.our_inbox == []
    assert meeting.theirs.send(1, parts[-1])
    assert meeting.pass_time(30.0, until=lambda: meeting.our_inbox, loss=0.05)
    assert [message.data for message in meeting.our_inbox] == [b"".join(parts)]
