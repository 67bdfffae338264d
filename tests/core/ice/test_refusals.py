"""Those who know an agent's name, but not its password: they are refused at no one's cost but their own."""

import hmac
import random

import pytest

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice import Agent, Credentials, IceSettings, LiteAgent
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME

VIA, HERE, PEER, STRANGER = "via", ("10.0.0.1", 1001), ("10.0.0.9", 9009), ("10.6.6.6", 666)
MAX_REFUSALS = IceSettings().max_refusals


@pytest.fixture(params=["lite", "full"])
def agent(request):
    """It has met its peer."""
    rng = random.Random(1)
    agent = LiteAgent(rng=rng) if request.param == "lite" else Agent(controlling=False, rng=rng)
    agent.add_local_base(VIA, HERE, 0.0)
    agent.set_remote_credentials(Credentials("PEER", "PasswordOfThePlayedPeer"), 0.0)
    receive(agent, [check(agent, nominate=True)])
    drain(agent)
    return agent


def check(agent, *, key: bytes | None = None, nominate: bool = False, from_=PEER) -> Received:
    check.number += 1
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=check.number.to_bytes(12),
        attributes={
            USERNAME: f"{agent.local_credentials.ufrag}:PEER",
            PRIORITY: 110 << 24,
            ICE_CONTROLLING: 1,
            **({USE_CANDIDATE: None} if nominate else {}),
        },
    )
    return Received(VIA, from_, request.encode(agent.local_credentials.key if key is None else key))


check.number = 0


def forged(agent, count: int) -> list[Received]:
    return [check(agent, key=b"guessed", from_=STRANGER) for _ in range(count)]


def receive(agent, batch, now: float = 1.0) -> None:
    agent.receive_datagrams(batch, now)


def drain(agent, now: float = 1.0) -> list[tuple[MessageClass, tuple[str, int]]]:
    """What it says, to whom; but for what it asks itself."""
    said = []
    while (transmit := agent.poll_transmits(now)) is not None:
        message_class = Message.decode(transmit.data).message_class
        if message_class is not MessageClass.REQUEST:
            said.append((message_class, transmit.to))
    return said


ANSWER, REFUSAL = (MessageClass.RESPONSE, PEER), (MessageClass.ERROR, STRANGER)


def test_a_stranger_is_refused_where_there_is_nothing_better_to_say(agent):
    receive(agent, forged(agent, 1))
    assert drain(agent) == [REFUSAL]


def test_refusals_never_stand_before_answers(agent):
    receive(agent, [check(agent), *forged(agent, 20), check(agent)])
    assert drain(agent) == [ANSWER, ANSWER]


def test_refusals_push_no_answer_out(agent):
    """As many strangers as there is room for what waits to leave, and more, between any two checks of the peer's."""
    for _ in range(20):
        receive(agent, [*forged(agent, 300), check(agent)])
    said = drain(agent)
    assert said.count(ANSWER) == 20
    assert said.count(REFUSAL) <= 1
    assert agent.counters.transmits_dropped == 0


def test_a_flood_is_refused_a_few_times_a_second_and_each_of_it_is_counted(agent):
    refusals = 0
    for turn in range(1000):
        now = 1 + turn / 100
        agent.handle_timeout(now)
        receive(agent, forged(agent, 5), now)
        refusals += drain(agent, now).count(REFUSAL)
    assert 5 * MAX_REFUSALS < refusals <= 11 * MAX_REFUSALS
    assert agent.counters.refused == 5000


def test_what_proves_nothing_costs_one_signature_and_is_not_taken_apart(agent, monkeypatch):
    """Counted, so that it is the same on every machine: a signature is 1 us, and taking a check apart 8."""
    receive(agent, forged(agent, 10 * MAX_REFUSALS))
    drain(agent)
    batch = forged(agent, 100)
    signatures, taken_apart = count_calls(monkeypatch)
    receive(agent, batch)
    assert (len(signatures), len(taken_apart)) == (100, 1), "the one that is refused, as nothing else is to be said"


def test_a_check_of_the_peers_is_verified_and_taken_apart_once(agent, monkeypatch):
    batch = [check(agent)]
    signatures, taken_apart = count_calls(monkeypatch)
    receive(agent, batch)
    assert (len(signatures), len(taken_apart)) == (2, 1), "its own, and the one on the answer to it"


def test_answers_to_what_nobody_asked_are_not_taken_apart(agent, monkeypatch):
    message = Message(
        method=Method.BINDING,
        message_class=MessageClass.RESPONSE,
        transaction_id=b"somebody".ljust(12),
    )
    batch = [Received(VIA, PEER, message.encode(b"guessed"))] * 100
    signatures, taken_apart = count_calls(monkeypatch)
    receive(agent, batch)
    assert (len(signatures), len(taken_apart)) == (0, 0)
    assert agent.counters.unexpected == 100


def count_calls(monkeypatch: pytest.MonkeyPatch) -> tuple[list, list]:
    """The HMACs that are computed, and the messages that are taken apart, from now on."""
    signatures, taken_apart = [], []
    compute, decode = hmac.digest, Message.decode.__func__

    def counted(*args: object) -> bytes:
        signatures.append(args)
        return compute(*args)

    def counted_decode(cls: type[Message], data: bytes) -> Message:
        taken_apart.append(data)
        return decode(cls, data)

    monkeypatch.setattr(hmac, "digest", counted)
    monkeypatch.setattr(Message, "decode", classmethod(counted_decode))
    return signatures, taken_apart
