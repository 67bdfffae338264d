"""Setting up: from one side, from both, over losses, with old cookies, and again after a restart."""

import itertools
import random

import pytest

from trio_webrtc.core.sctp import Aborted, Established, Failed, Restarted, SctpSettings
from trio_webrtc.core.sctp.causes import unresolvable_address
from trio_webrtc.core.sctp.chunks import (
    AbortChunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    InitAckChunk,
    InitChunk,
    SackChunk,
    ShutdownAckChunk,
    ShutdownChunk,
    ShutdownCompleteChunk,
)
from trio_webrtc.core.sctp.packet import read_packet
from trio_webrtc.core.sctp.parameters import Parameter, ParameterType
from trio_webrtc.core.sctp.states import Closed, CookieEchoed, CookieWait
from trio_webrtc.errors import UsageError

from .harness import SctpPair, chunk_types, connected, events, messages, packet_of, payloads, tag_of


def test_one_side_may_begin():
    pair = SctpPair()
    pair.b.connect(pair.now)
    pair.exchange()
    assert events(pair.a) == events(pair.b) == [Established(65_535, 65_535)]


def test_both_sides_may_begin_at_once():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.b.connect(pair.now)
    pair.a.send(1, 51, b"from the left", now=pair.now)
    pair.b.send(1, 51, b"from the right", now=pair.now)
    pair.exchange()
    assert events(pair.a) == events(pair.b) == [Established(65_535, 65_535)]
    assert payloads(pair.a) == [b"from the right"]
    assert payloads(pair.b) == [b"from the left"]


@pytest.mark.parametrize("seed", range(60))
def test_handshakes_that_collide_come_up_in_whatever_order_packets_arrive(seed):
    pair, rng = SctpPair(seed=seed), random.Random(seed)
    pair.a.connect(pair.now)
    if rng.random() < 0.8:
        pair.b.connect(pair.now)
    pair.drain()
    for _ in range(rng.randint(0, 12)):
        if not pair.in_flight:
            break
        act = rng.choice([pair.deliver, pair.deliver, pair.duplicate, pair.lose])
        act(rng.randrange(len(pair.in_flight)))
        if rng.random() < 0.2:
            pair.fire_next_timer()
    pair.a.send(1, 51, b"left", now=pair.now)
    pair.b.send(1, 51, b"right", now=pair.now)
    pair.settle()
    assert pair.a.is_established
    assert pair.b.is_established
    assert (payloads(pair.a), payloads(pair.b)) == ([b"right"], [b"left"])
    assert [type(event) for event in events(pair.a)] == [Established]
    assert [type(event) for event in events(pair.b)] == [Established]


@pytest.mark.parametrize("lost", range(4))
def test_any_packet_of_the_handshake_may_be_lost(lost):
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    for _ in range(lost):
        pair.deliver()
    pair.lose()
    pair.settle()
    assert events(pair.a) == events(pair.b) == [Established(65_535, 65_535)]
    assert pair.now <= 1.1


def test_a_peer_that_never_answers_is_given_up():
    pair = SctpPair()
    pair.a.connect(pair.now)
    for _ in range(100):
        pair.lose_all()
        if not pair.fire_next_timer():
            break
    (event,) = events(pair.a)
    assert isinstance(event, Failed)
    assert pair.a.is_ended
    assert pair.a.next_timeout() is None
    assert 30 < pair.now < 90


def test_a_peer_that_answers_init_and_no_cookie_is_given_up():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    pair.deliver()
    assert isinstance(pair.a.state, CookieEchoed)
    for _ in range(100):
        pair.lose_all()
        if not pair.fire_next_timer():
            break
    assert [type(event) for event in events(pair.a)] == [Failed]


def test_an_init_answered_leaves_no_state_behind():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    assert isinstance(pair.b.state, Closed)
    assert pair.b.next_timeout() is None


def test_streams_are_the_fewer_of_what_is_wanted_and_what_is_taken():
    pair = SctpPair(left_settings=SctpSettings(streams=10), right_settings=SctpSettings(streams=300))
    pair.a.send(9, 51, b"within", now=pair.now)
    pair.b.send(10, 51, b"beyond", now=pair.now)
    pair.a.connect(pair.now)
    pair.exchange()
    assert (pair.a.outbound_streams, pair.a.inbound_streams) == (10, 10)
    assert (pair.b.outbound_streams, pair.b.inbound_streams) == (10, 10)
    assert (payloads(pair.b), payloads(pair.a)) == ([b"within"], [])
    assert pair.b.unacknowledged_total == 0
    with pytest.raises(UsageError, match="one too many"):
        pair.b.send(10, 51, b"beyond", now=pair.now)


def test_a_cookie_that_comes_too_late_is_stale_and_a_new_one_is_fetched():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    pair.deliver()
    pair.now = 61.0
    pair.deliver()
    assert chunk_types(pair.in_flight[0].packet) == [ErrorChunk.TYPE]
    assert not pair.b.is_established
    pair.deliver()
    assert isinstance(pair.a.state, CookieWait)
    pair.exchange()
    assert pair.a.is_established
    assert pair.b.is_established


def test_a_peer_all_of_whose_cookies_are_stale_is_given_up():
    pair = SctpPair(right_settings=SctpSettings(cookie_lifetime=-1.0))
    pair.a.connect(pair.now)
    pair.settle()
    assert [type(event) for event in events(pair.a)] == [Failed]


def test_a_forged_cookie_is_dropped():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    pair.deliver()
    (item,) = pair.in_flight
    _, _, tag, ((_, _, cookie),) = read_packet(item.packet)
    for position in range(0, len(cookie), 7):
        forged = bytearray(cookie)
        forged[position] ^= 1
        pair.b.receive_datagrams([packet_of(tag, CookieEchoChunk(bytes(forged)))], pair.now)
    pair.b.receive_datagrams([packet_of(tag, CookieEchoChunk(b""))], pair.now)
    assert isinstance(pair.b.state, Closed)
    assert pair.b.poll_transmits(pair.now, 10) == []


def test_a_restarted_peer_is_noticed_and_served():
    pair = connected()
    pair.b.send(3, 51, b"x" * 5000, now=pair.now)
    pair.drain()
    pair.replace_left().connect(pair.now)
    pair.exchange()
    assert events(pair.b) == [Restarted((3,))]
    assert events(pair.a) == [Established(65_535, 65_535)]
    assert pair.b.unacknowledged_total == 0
    pair.b.send(3, 51, b"again", now=pair.now)
    pair.a.send(3, 51, b"hello", now=pair.now)
    pair.settle()
    assert (payloads(pair.a), payloads(pair.b)) == ([b"again"], [b"hello"])


def test_what_was_not_taken_before_a_restart_takes_up_the_window_until_it_is():
    pair = connected()
    pair.a.send(3, 51, bytes(1000), now=pair.now)
    pair.settle()
    (untaken,) = messages(pair.b, now=None)
    pair.replace_left().connect(pair.now)
    pair.exchange()
    window = pair.b.state.link.receiver.window
    pair.b.release(untaken.cost, pair.now)
    assert window + untaken.cost == pair.b.state.link.receiver.window == SctpSettings().receive_buffer


def test_a_repeated_cookie_is_answered_and_changes_nothing():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    pair.deliver()
    pair.duplicate()
    pair.lose(1)
    link = pair.b.state.link
    pair.deliver()
    assert pair.b.state.link is link
    assert chunk_types(pair.in_flight[0].packet) == [CookieAckChunk.TYPE]
    pair.exchange()
    assert pair.a.is_established


def init(**changes) -> InitChunk:
    values = {"initiate_tag": 7, "a_rwnd": 100_000, "outbound_streams": 10, "inbound_streams": 10, "initial_tsn": 1}
    return InitChunk(**(values | changes))


@pytest.mark.parametrize("change", [{"outbound_streams": 0}, {"inbound_streams": 0}])
def test_an_init_without_streams_is_answered_by_abort(change):
    b = SctpPair().b
    b.receive_datagrams([packet_of(0, init(**change))], 0.0)
    (packet,) = b.poll_transmits(0.0, 10)
    assert chunk_types(packet) == [AbortChunk.TYPE]


def test_a_host_name_is_refused():
    b = SctpPair().b
    name = Parameter(ParameterType.HOST_NAME_ADDRESS, b"a.b\0")
    b.receive_datagrams([packet_of(0, init(parameters=(name,)))], 0.0)
    (packet,) = b.poll_transmits(0.0, 10)
    _, _, tag, ((type_, flags, body),) = read_packet(packet)
    assert (tag, type_) == (7, AbortChunk.TYPE)
    assert AbortChunk.decode(flags, body).causes == (unresolvable_address(name.encode()),)


def test_an_init_without_a_tag_or_in_company_is_dropped():
    b = SctpPair().b
    b.receive_datagrams([packet_of(0, init(initiate_tag=0))], 0.0)
    b.receive_datagrams([packet_of(0, init(), CookieAckChunk())], 0.0)
    b.receive_datagrams([packet_of(9, init())], 0.0)
    assert b.poll_transmits(0.0, 10) == []


@pytest.mark.parametrize(
    ("types", "reported"),
    [
        ((0x8005, 0xC123), [0xC123]),
        ((0x4001, 0xC123), [0x4001]),
        ((0x0033, 0xC123), []),
        ((0xC006, 0xC123), [0xC006, 0xC123]),
    ],
)
def test_unknown_parameters_are_treated_as_their_highest_bits_say(types, reported):
    b = SctpPair().b
    unknown = tuple(Parameter(type_, b"abc") for type_ in types)
    b.receive_datagrams([packet_of(0, init(parameters=unknown))], 0.0)
    (packet,) = b.poll_transmits(0.0, 10)
    _, _, _, ((_, flags, body),) = read_packet(packet)
    ack = InitAckChunk.decode(flags, body)
    told = [p.value for p in ack.parameters if p.type == ParameterType.UNRECOGNIZED_PARAMETER]
    assert told == [Parameter(type_, b"abc").encode() for type_ in reported]


def test_we_announce_stream_resets_and_forward_tsn_and_no_zero_checksum():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    _, _, tag, ((_, flags, body),) = read_packet(pair.in_flight[0].packet)
    proposal = InitChunk.decode(flags, body)
    assert tag == 0
    assert {p.type: p.value for p in proposal.parameters} == {0xC000: b"", 0x8008: bytes([130, 192])}


COOKIE = Parameter(ParameterType.STATE_COOKIE, b"c")


@pytest.mark.parametrize(
    ("change", "reason", "reflected"),
    [
        ({}, "missing mandatory parameter", False),
        ({"parameters": (COOKIE,), "outbound_streams": 0}, "invalid mandatory parameter", False),
        ({"parameters": (COOKIE,), "initiate_tag": 0}, "invalid mandatory parameter", True),
        ({"parameters": (COOKIE, Parameter(11, b"a.b\0"))}, "unresolvable address", False),
    ],
)
def test_an_init_ack_that_will_not_do_ends_the_attempt_and_the_peer_hears_why(change, reason, reflected):
    pair = SctpPair()
    pair.a.connect(pair.now)
    own_tag = pair.a.state.init.initiate_tag
    values = {"initiate_tag": 7, "a_rwnd": 100_000, "outbound_streams": 10, "inbound_streams": 10, "initial_tsn": 1}
    pair.a.receive_datagrams([packet_of(own_tag, InitAckChunk(**(values | change)))], pair.now)
    assert events(pair.a) == [Aborted(by_peer=False, reason=reason)]
    (packet,) = pair.a.poll_transmits(pair.now, 10)
    _, _, tag, ((type_, flags, body),) = read_packet(packet)
    assert (type_, tag) == (AbortChunk.TYPE, own_tag if reflected else 7)
    assert AbortChunk.decode(flags, body).reflected_tag is reflected
    assert pair.a.next_timeout() is None


def test_an_init_ack_in_company_is_dropped():
    pair = SctpPair()
    pair.a.connect(pair.now)
    ack = InitAckChunk(
        initiate_tag=7, a_rwnd=100_000, outbound_streams=10, inbound_streams=10, initial_tsn=1, parameters=(COOKIE,)
    )
    pair.a.receive_datagrams([packet_of(pair.a.state.init.initiate_tag, ack, CookieAckChunk())], pair.now)
    assert isinstance(pair.a.state, CookieWait)


def test_cookie_ack_is_the_first_chunk_of_its_packet():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    pair.deliver()
    (item,) = pair.in_flight
    _, _, tag, ((_, _, cookie),) = read_packet(item.packet)
    data = DataChunk(3, pair.a.state.link.terms.local_initial_tsn, 1, 0, 51, b"early")
    pair.b.receive_datagrams([packet_of(tag, CookieEchoChunk(cookie), data)], pair.now)
    (packet,) = pair.b.poll_transmits(pair.now, 10)
    assert chunk_types(packet) == [CookieAckChunk.TYPE, SackChunk.TYPE]


def test_what_is_not_understood_of_an_init_ack_is_reported_along_with_the_cookie():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.a.poll_transmits(pair.now, 10)
    ack = InitAckChunk(
        initiate_tag=7,
        a_rwnd=100_000,
        outbound_streams=10,
        inbound_streams=10,
        initial_tsn=1,
        parameters=(Parameter(0xC00C, b"\1"), COOKIE),
    )
    pair.a.receive_datagrams([packet_of(pair.a.state.init.initiate_tag, ack)], pair.now)
    (packet,) = pair.a.poll_transmits(pair.now, 10)
    assert chunk_types(packet) == [CookieEchoChunk.TYPE, ErrorChunk.TYPE]


def test_an_abort_during_the_handshake_ends_it():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.a.receive_datagrams([packet_of(pair.a.state.init.initiate_tag, AbortChunk())], pair.now)
    assert events(pair.a) == [Aborted(by_peer=True, reason="no reason given")]


def test_stray_packets_are_counted_and_left_alone():
    pair = connected()
    tag = tag_of(pair.b)
    for packet in (
        packet_of(tag ^ 1, CookieAckChunk()),
        packet_of(tag, CookieAckChunk(), ports=(5001, 5000)),
        packet_of(tag ^ 1, AbortChunk()),
        packet_of(tag ^ 1, AbortChunk(reflected_tag=True)),
        packet_of(tag ^ 1, ShutdownCompleteChunk(reflected_tag=True)),
    ):
        pair.b.receive_datagrams([packet], pair.now)
    assert pair.b.counters.stray_packets == 5
    assert pair.b.is_established
    assert pair.b.poll_transmits(pair.now, 10) == []


def test_a_late_shutdown_ack_is_answered_out_of_the_blue():
    b = SctpPair().b
    b.receive_datagrams([packet_of(99, ShutdownAckChunk())], 0.0)
    (packet,) = b.poll_transmits(0.0, 10)
    assert read_packet(packet)[2] == 99
    assert chunk_types(packet) == [ShutdownCompleteChunk.TYPE]


def test_what_comes_out_of_the_blue_is_refused_unless_it_is_an_answer_itself():
    b = SctpPair().b
    answers = [CookieAckChunk(), ErrorChunk(()), AbortChunk(), ShutdownCompleteChunk(), CookieEchoChunk(b"forged")]
    b.receive_datagrams([packet_of(99, chunk) for chunk in answers], 0.0)
    assert b.poll_transmits(0.0, 10) == []
    b.receive_datagrams([packet_of(99, ShutdownChunk(0))], 0.0)
    (packet,) = b.poll_transmits(0.0, 10)
    _, _, tag, ((type_, flags, body),) = read_packet(packet)
    assert (tag, type_, AbortChunk.decode(flags, body)) == (99, AbortChunk.TYPE, AbortChunk(reflected_tag=True))


@pytest.mark.parametrize("flood", [InitChunk, CookieEchoChunk])
def test_a_flood_of_handshakes_leaves_a_bounded_number_of_answers(flood):
    b = SctpPair().b
    packets = itertools.repeat(packet_of(0, init()), 10_000)
    b.receive_datagrams(list(packets), 0.0)
    assert len(b.poll_transmits(0.0, 100_000)) <= 64
