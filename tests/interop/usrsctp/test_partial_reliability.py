"""Messages may be given up: never in part, never out of order, and nothing stalls for them (RFC 3758, RFC 7496)."""

import pytest

LARGE = 20_000
MESSAGES = 60
CONTRACTS = [{"max_retransmits": 0}, {"max_retransmits": 2}, {"lifetime": 0.2}]


def check(received: list[bytes], sent: list[bytes], *, unordered: bool) -> None:
    """What arrived was sent, arrived once, and in order where that was agreed on."""
    assert set(received) <= set(sent)
    assert len(received) == len(set(received))
    if not unordered:
        assert received == sorted(received)


def contents(size: int) -> list[bytes]:
    return [bytes([number]) * size for number in range(MESSAGES)]


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("seed", range(3))
def test_what_we_give_up_holds_nothing_up(meet, seed, contract, size, unordered):
    meeting, sent = meet(seed=seed).connect(), contents(size)
    for data in sent:
        meeting.ours.send(1, 51, data, unordered=unordered, now=meeting.now, **contract)
        meeting.pass_time(0.05, loss=0.2, jitter=0.01)
    assert meeting.pass_time(120.0, until=lambda: not meeting.ours.unacknowledged_total, loss=0.2), f"seed {seed}"
    arrived = [message.data for message in meeting.theirs.inbox]
    check(arrived, sent, unordered=unordered)
    meeting.ours.send(1, 51, b"reliable", unordered=unordered, now=meeting.now)
    assert meeting.pass_time(
        30.0, until=lambda: meeting.theirs.inbox[-1:] and meeting.theirs.inbox[-1][2] == b"reliable"
    )
    assert meeting.pass_time(30.0, until=lambda: not meeting.ours.state.link.sender.outstanding)


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("seed", range(3))
def test_what_they_give_up_holds_nothing_up(meet, seed, contract, size, unordered):
    meeting, sent = meet(seed=seed, send_buffer=2_000_000).connect(), contents(size)
    for data in sent:
        assert meeting.theirs.send(1, data, unordered=unordered, **contract)
        meeting.pass_time(0.05, loss=0.2, jitter=0.01)
    meeting.pass_time(30.0, loss=0.2)
    check([message.data for message in meeting.our_inbox], sent, unordered=unordered)
    assert meeting.theirs.send(1, b"reliable", unordered=unordered)
    assert meeting.pass_time(60.0, until=lambda: any(message.data == b"reliable" for message in meeting.our_inbox))
    meeting.pass_time(10.0)
    check([message.data for message in meeting.our_inbox[:-1]], sent, unordered=unordered)
    reassembly = meeting.ours.state.link.receiver.reassembly
    assert (reassembly.held, reassembly.delivered) == (0, 0)


@pytest.mark.parametrize("seed", range(5))
def test_contracts_of_all_kinds_mix_in_both_directions(meet, seed):
    meeting = meet(seed=seed).connect(from_="both")
    rng = meeting.rng
    kinds = [*CONTRACTS, {}, {"unordered": True}, {"unordered": True, "max_retransmits": 0}]
    reliable_ours: dict[int, list[bytes]] = {}
    reliable_theirs: dict[int, list[bytes]] = {}
    for _ in range(300):
        stream_id = rng.randrange(len(kinds))
        data = rng.randbytes(rng.choice([20, 1000, 5000]))
        meeting.ours.send(stream_id, 51, data, now=meeting.now, **kinds[stream_id])
        reliable_ours.setdefault(stream_id, []).append(data)
        data = rng.randbytes(rng.choice([20, 1000, 5000]))
        assert meeting.theirs.send(stream_id, data, **kinds[stream_id])
        reliable_theirs.setdefault(stream_id, []).append(data)
        meeting.pass_time(0.02, loss=0.1, jitter=0.02)

    def received(inbox, stream_id: int) -> list[bytes]:
        return [message.data for message in inbox if message.stream_id == stream_id]

    assert meeting.pass_time(
        100.0,
        until=lambda: (
            len(received(meeting.theirs.inbox, 3)) == len(reliable_ours[3])
            and len(received(meeting.theirs.inbox, 4)) == len(reliable_ours[4])
            and len(received(meeting.our_inbox, 3)) == len(reliable_theirs[3])
            and len(received(meeting.our_inbox, 4)) == len(reliable_theirs[4])
        ),
        loss=0.1,
    )
    meeting.pass_time(20.0, loss=0.1)
    for inbox, sent in ((meeting.theirs.inbox, reliable_ours), (meeting.our_inbox, reliable_theirs)):
        assert received(inbox, 3) == sent[3]
        for stream_id in range(len(kinds)):
            got = received(inbox, stream_id)
            assert len(got) == len(set(got))
            assert set(got) <= set(sent[stream_id])
            if stream_id <= 3:
                assert got == [data for data in sent[stream_id] if data in set(got)]
