import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice import (
    Agent,
    AgentState,
    BaseKind,
    ConnectionWanted,
    Credentials,
    LiteAgent,
    parse_candidate,
)
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import (
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)

HERE, THERE = ("10.0.0.1", 1), ("10.0.0.2", 2)
REMOTE = Credentials("THEM", "PasswordOfTheOtherSide!".replace("!", "xx"))


def checking_agent(*, controlling=True):
    """An agent amid its checks, with a STUN query under way, and the datagrams that it has sent."""
    agent = Agent(controlling=controlling, rng=random.Random(1))
    agent.add_local_base("via", HERE, 0.0)
    agent.add_stun_server(("203.0.113.1", 3478), 0.0)
    agent.add_remote_candidate(parse_candidate("1 1 udp 1 10.0.0.2 2 typ host"), 0.0)
    agent.set_remote_credentials(REMOTE, 0.0)
    sent = []
    while (transmit := agent.poll_transmits(0.0)) is not None:
        sent.append(transmit.data)
    return agent, sent


def drain(agent, now):
    while agent.poll_event() is not None:
        pass
    count = 0
    while agent.poll_transmits(now) is not None:
        count += 1
    return count


def signed_request(agent, attributes):
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=bytes(12),
        attributes={USERNAME: f"{agent.local_credentials.ufrag}:THEM", **attributes},
    )
    return request.encode(agent.local_credentials.key)


@settings(deadline=None)
@given(batch=st.lists(st.binary(max_size=200), max_size=5), controlling=st.booleans())
def test_arbitrary_datagrams_are_counted_and_change_nothing(batch, controlling):
    agent, _ = checking_agent(controlling=controlling)
    agent.receive_datagrams([Received("via", THERE, data) for data in batch], 0.1)
    assert agent.counters.malformed == len(batch)
    assert agent.state is AgentState.CHECKING
    assert not agent.is_validated("via", THERE)


@given(data=st.data(), stranger=st.booleans())
@settings(deadline=None, max_examples=300)
def test_mutated_datagrams_raise_nothing(data, stranger):
    agent, sent = checking_agent()
    own = [Message.decode(each) for each in sent]
    messages = [
        *sent,
        *(each.answer({}).encode(REMOTE.key) for each in own),
        *(each.refuse(487).encode(REMOTE.key) for each in own),
        signed_request(agent, {PRIORITY: 1, ICE_CONTROLLED: 5, USE_CANDIDATE: None}),
    ]
    mutated = bytearray(data.draw(st.sampled_from(messages)))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(mutated)))
    for variant in (bytes(mutated), bytes(mutated[:cut])):
        agent.receive_datagrams([Received("via", ("10.0.0.99", 99) if stranger else THERE, variant)], 0.1)
    drain(agent, 0.1)


@settings(deadline=None)
@given(
    priority=st.integers(0, 2**32 - 1),
    controlling=st.none() | st.integers(0, 2**64 - 1),
    controlled=st.none() | st.integers(0, 2**64 - 1),
    nominate=st.booleans(),
    port=st.integers(1, 65535),
    ours=st.booleans(),
)
def test_whatever_an_authenticated_peer_asks_gets_one_answer_and_raises_nothing(
    priority, controlling, controlled, nominate, port, ours
):
    agent, _ = checking_agent(controlling=ours)
    attributes = {PRIORITY: priority}
    attributes.update({ICE_CONTROLLING: controlling} if controlling is not None else {})
    attributes.update({ICE_CONTROLLED: controlled} if controlled is not None else {})
    attributes.update({USE_CANDIDATE: None} if nominate else {})
    agent.receive_datagrams([Received("via", ("10.0.0.9", port), signed_request(agent, attributes))], 0.0)
    first = agent.poll_transmits(0.0)
    assert first.to == ("10.0.0.9", port)
    assert Message.decode(first.data).is_signed_with(agent.local_credentials.key)


def test_an_authenticated_peer_that_checks_from_everywhere_fills_no_memory():
    agent, _ = checking_agent(controlling=False)
    for index in range(2000):
        address = (f"10.1.{index // 250}.{index % 250}", 9)
        agent.receive_datagrams([Received("via", address, signed_request(agent, {PRIORITY: index}))], 0.0)
        drain(agent, 0.0)
    assert len(agent.pairs_snapshot()) == 100
    assert len(agent.remote_candidates) <= 101
    assert sum(agent.is_validated("via", (f"10.1.{i // 250}.{i % 250}", 9)) for i in range(2000)) == 200


def test_a_peer_that_checks_all_the_time_does_not_make_us_check_all_the_time():
    agent, _ = checking_agent(controlling=False)
    request = signed_request(agent, {PRIORITY: 1})
    checks = 0
    for tick in range(1000):
        now = tick / 1000
        agent.receive_datagrams([Received("via", THERE, request)], now)
        if (due := agent.next_timeout()) is not None and due <= now:
            agent.handle_timeout(now)
        checks += drain(agent, now) - 1
    assert checks <= 21, "one every Ta"


def test_a_peer_that_never_settles_the_roles_is_asked_at_a_steady_pace():
    agent, _ = checking_agent()
    agent.receive_datagrams([Received("via", THERE, signed_request(agent, {PRIORITY: 1, ICE_CONTROLLED: 0}))], 0.0)
    checks = 0
    for tick in range(1000):
        now = tick / 1000
        if (due := agent.next_timeout()) is not None and due <= now:
            agent.handle_timeout(now)
        while (transmit := agent.poll_transmits(now)) is not None:
            request = Message.decode(transmit.data)
            if transmit.to == THERE and request.message_class is MessageClass.REQUEST:
                checks += 1
                agent.receive_datagrams([Received("via", THERE, request.refuse(487).encode(REMOTE.key))], now)
    assert 10 <= checks <= 21


def test_what_waits_for_a_socket_that_takes_nothing_is_bounded():
    agent, _ = checking_agent(controlling=False)
    request = signed_request(agent, {PRIORITY: 1})
    agent.receive_datagrams([Received("via", THERE, request)] * 5000, 0.0)
    assert drain(agent, 0.0) == 256
    assert agent.counters.transmits_dropped > 0


def test_strangers_get_short_answers():
    agent, _ = checking_agent(controlling=False)
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=bytes(12),
        attributes={USERNAME: "nobody:nobody", PRIORITY: 1},
    ).encode(b"wrong")
    agent.receive_datagrams([Received("via", ("10.0.0.66", 6), request)], 0.0)
    answer = agent.poll_transmits(0.0)
    assert len(answer.data) <= len(request), "nobody is worth less to an attacker than a reflector that adds nothing"


@pytest.mark.parametrize("method", [Method.ALLOCATE, Method.DATA])
def test_other_methods_are_not_for_us(method):
    agent, _ = checking_agent()
    message = Message(method=method, message_class=MessageClass.REQUEST, transaction_id=bytes(12))
    agent.receive_datagrams([Received("via", THERE, message.encode())], 0.0)
    assert agent.counters.unexpected == 1
    assert agent.poll_transmits(0.0) is None


def test_what_comes_late_by_a_way_that_is_gone_changes_nothing():
    """E8: a tuple is removed, and then checks and answers arrive for it."""
    agent, sent = checking_agent(controlling=False)
    request = signed_request(agent, {PRIORITY: 1, ICE_CONTROLLING: 1, USE_CANDIDATE: None})
    answers = [Message.decode(data).answer({XOR_MAPPED_ADDRESS: HERE}).encode(REMOTE.key) for data in sent]
    agent.remove_local_base("via", 0.0)
    agent.receive_datagrams([Received("via", THERE, data) for data in (request, *answers)], 0.1)
    assert agent.counters.unexpected == 1 + len(answers)
    assert drain(agent, 0.1) == 0
    assert agent.selected_pair is None
    assert not agent.is_validated("via", THERE)


def test_a_timer_fired_early_or_twice_does_no_harm():
    agent, _ = checking_agent()
    for _ in range(100):
        agent.handle_timeout(0.01)
    assert drain(agent, 0.01) == 0


COMMANDS = (
    *("base", "remove", "candidate", "end", "restart", "resume", "known", "unknown", "check", "forget", "time"),
    *("active", "passive", "passive candidate", "connected", "refused"),
)


@settings(deadline=None, max_examples=200)
@given(names=st.lists(st.sampled_from(COMMANDS), max_size=60), kind=st.sampled_from(["full", "lite"]))
def test_commands_may_come_in_any_order(names, kind):
    rng = random.Random(1)
    agent = Agent(controlling=True, rng=rng) if kind == "full" else LiteAgent(rng=rng)
    now = 0.0
    wanted = []
    for index, name in enumerate(names):
        via = f"via{index % 3}"
        match name:
            case "base":
                agent.add_local_base(via, (f"10.0.0.{index + 1}", 1), now)
            case "remove":
                agent.remove_local_base(via, now)
            case "candidate":
                agent.add_remote_candidate(parse_candidate(f"1 1 udp 1 10.1.0.{index} 9 typ host"), now)
            case "end":
                agent.end_of_remote_candidates(now)
                agent.end_of_local_bases(now)
            case "restart":
                agent.restart(now)
            case "resume":
                agent.resume(now)
            case "unknown":
                agent.forget_remote(now)
            case "forget":
                agent.forget_address(via, THERE, now)
            case "active":
                agent.add_local_base(via, ("10.0.0.1", 0), now, kind=BaseKind.TCP_ACTIVE)
            case "passive":
                agent.add_local_base(via, ("10.0.0.1", 5), now, kind=BaseKind.TCP_PASSIVE)
            case "passive candidate":
                line = f"1 1 tcp 1 10.2.0.{index} 9 typ host tcptype passive"
                agent.add_remote_candidate(parse_candidate(line), now)
            case "connected":
                base_via, address = wanted.pop() if wanted else (f"via{(index + 1) % 3}", THERE)
                agent.add_connection(via, base_via, address, now)
            case "refused":
                base_via, address = wanted.pop() if wanted else (via, THERE)
                agent.report_connection_failure(base_via, address, "refused", now)
            case "known":
                agent.set_remote_credentials(Credentials.generate(random.Random(index)), now)
            case "check":
                request = signed_request(agent, {PRIORITY: 1, USE_CANDIDATE: None})
                agent.receive_datagrams([Received(via, THERE, request)], now)
            case "time":
                now = agent.next_timeout() or now
                agent.handle_timeout(now)
        for event in iter(agent.poll_event, None):
            if isinstance(event, ConnectionWanted):
                wanted.append((event.base_via, event.remote_address))
        drain(agent, now)
        assert agent.selected_pair is None or agent.state in {
            AgentState.CONNECTED,
            AgentState.COMPLETED,
            AgentState.DISCONNECTED,
        }
    agent.close()
    assert agent.next_timeout() is None


def test_after_close_nothing_that_is_asked_for_happens():
    agent, _ = checking_agent()
    agent.close()
    drain(agent, 0.0)
    agent.set_controlling(False, 0.0)
    agent.add_local_base("other", ("10.0.0.3", 3), 0.0)
    agent.remove_local_base("via", 0.0)
    agent.add_stun_server(("203.0.113.2", 3478), 0.0)
    agent.end_of_local_bases(0.0)
    agent.set_remote_credentials(Credentials("else", "x" * 22), 0.0)
    agent.add_remote_candidate(parse_candidate("1 1 udp 1 10.0.0.7 7 typ host"), 0.0)
    agent.end_of_remote_candidates(0.0)
    agent.restart(0.0)
    agent.receive_datagrams([Received("via", THERE, signed_request(agent, {PRIORITY: 1}))], 0.0)
    agent.handle_timeout(100.0)
    assert agent.poll_event() is None
    assert agent.poll_transmits(100.0) is None
    assert agent.state is AgentState.CLOSED
