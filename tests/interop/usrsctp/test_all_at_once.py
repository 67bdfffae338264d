"""Messages of every kind on streams that come and go in both directions, over a network that is bad in every way."""

import random

import pytest

from trio_webrtc.core.sctp import Aborted, Failed, OutgoingResetRefused, OutgoingStreamsReset, SctpSettings, ShutDown

from .endpoint import StreamsReset
from .meeting import Meeting, by_stream

KINDS = [{}, {"unordered": True}, {"max_retransmits": 0}, {"unordered": True, "max_retransmits": 1}, {"lifetime": 0.3}]
RELIABLE = [0, 1]
ORDERED = [0, 2, 4]
SIZES = [[10, 10, 1000, 30_000], [10, 1000], [10, 10, 1000, 5_000], [10, 1000], [10, 1000, 5_000]]
"""No unordered message is so large that it would be cut: usrsctp takes what FORWARD TSN leaves of such a message for
the beginning of the next one, and aborts."""


class Sender:
    """One side's streams: what was sent on each, and which are being reset."""

    def __init__(self, rng: random.Random) -> None:
        self.random = rng
        self.sent: dict[int, list[bytes]] = {stream_id: [] for stream_id in range(len(KINDS))}
        self.resetting: set[int] = set()

    def act(self, step: int, send, reset) -> None:
        """Send a message somewhere, and perhaps end its stream behind it."""
        stream_id = self.random.randrange(len(KINDS))
        data = (b"%d.%d " % (stream_id, step)).ljust(self.random.choice(SIZES[stream_id]), b"x")
        if stream_id not in self.resetting and send(stream_id, data, KINDS[stream_id]):
            self.sent[stream_id].append(data)
            if self.random.random() < 0.1:
                reset(stream_id)
                self.resetting.add(stream_id)

    def check(self, received: dict[int, list[bytes]]) -> None:
        """Each kind has kept its promise."""
        for stream_id, sent in self.sent.items():
            got = received.get(stream_id, [])
            assert len(got) == len(set(got)), f"stream {stream_id} delivered something twice"
            assert set(got) <= set(sent)
            if stream_id in RELIABLE:
                assert set(got) == set(sent)
            if stream_id in ORDERED:
                assert got == [data for data in sent if data in got], f"stream {stream_id} is out of order"

    def is_all_there(self, received: dict[int, list[bytes]]) -> bool:
        return all(len(received.get(stream_id, [])) == len(self.sent[stream_id]) for stream_id in RELIABLE)


def act_for_a_while(meeting: Meeting, ours: Sender, theirs: Sender, **network: float) -> None:
    def send_ours(stream_id, data, kind):
        meeting.ours.send(stream_id, 51, data, now=meeting.now, **kind)
        return True

    def send_theirs(stream_id, data, kind):
        return meeting.theirs.send(stream_id, data, **kind)

    for step in range(200):
        ours.act(step, send_ours, lambda stream_id: meeting.ours.reset_streams([stream_id], meeting.now))
        theirs.act(step, send_theirs, meeting.theirs.reset_streams)
        meeting.pass_time(meeting.rng.choice([0, 0.001, 0.02, 0.1]), **network)
        assert not any(isinstance(event, Aborted | Failed | OutgoingResetRefused) for event in meeting.our_events)
        for event in meeting.told(OutgoingStreamsReset):
            ours.resetting.difference_update(event.stream_ids)
        for notice in meeting.theirs.notices:
            if isinstance(notice, StreamsReset) and not notice.incoming:
                assert not notice.refused
                theirs.resetting.difference_update(notice.stream_ids)
        meeting.theirs.notices.clear()
        meeting.our_events.clear()


@pytest.mark.parametrize("seed", range(15))
def test_every_kind_of_message_keeps_its_promise_on_streams_that_come_and_go(meet, seed):
    rng = random.Random(seed)
    buffer = rng.choice([65_536, 1_048_576])
    settings = SctpSettings(
        receive_buffer=buffer, max_message_size=buffer // 2, initial_tsn=rng.choice([None, 2**32 - 50, 2**31 - 50])
    )
    meeting = meet(seed=seed, settings=settings, receive_buffer=buffer, send_buffer=3_000_000)
    meeting.connect(from_=rng.choice(["ours", "theirs", "both"]))
    network = {"loss": rng.choice([0, 0.01, 0.05, 0.1, 0.2]), "jitter": rng.choice([0, 0.005, 0.05])}
    ours, theirs = Sender(rng), Sender(rng)
    act_for_a_while(meeting, ours, theirs, **network)

    def all_there() -> bool:
        return ours.is_all_there(by_stream(meeting.theirs.inbox)) and theirs.is_all_there(by_stream(meeting.our_inbox))

    assert meeting.pass_time(300.0, until=all_there, **network), f"seed {seed}: {meeting.ours.counters}"
    assert meeting.pass_time(300.0, until=lambda: not meeting.ours.unacknowledged_total, **network)
    meeting.pass_time(30.0)
    ours.check(by_stream(meeting.theirs.inbox))
    theirs.check(by_stream(meeting.our_inbox))
    link = meeting.ours.state.link
    assert not link.sender.outstanding
    assert (link.receiver.reassembly.held, link.receiver.reassembly.delivered) == (0, 0)
    meeting.ours.shutdown(meeting.now)
    assert meeting.pass_time(200.0, until=lambda: meeting.told(ShutDown), **network)
