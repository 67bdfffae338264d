"""Cookies (RFC 6347 §4.2.1): a server asks for one before it sends a flight to an address that has proved nothing."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.address_validation import Way
from trio_webrtc.core.dtls import DtlsSettings, SessionState
from trio_webrtc.core.dtls.records import HANDSHAKE, HEADER_LENGTH
from trio_webrtc.core.dtls.session import COOKIE_LENGTH, MAX_COOKIES

from .test_handshake import fragments_of
from .test_hostile import FIXTURES_ARE_FINE, garbage

HERE, THERE = ("udp", ("192.0.2.1", 1)), ("udp", ("192.0.2.2", 2))
HELLO_VERIFY_REQUEST = 3


def asks_for_cookie(datagram: bytes) -> bool:
    return datagram[0] == HANDSHAKE and datagram[HEADER_LENGTH] == HELLO_VERIFY_REQUEST


def knock(pair, drain) -> bytes:
    """The client's first word."""
    pair.client.start(0.0)
    (hello,) = drain(pair.client)
    return hello


def answer(pair, drain, *records: bytes, way: Way = HERE) -> list[bytes]:
    """What the server says to that, if it would be sent by `way`."""
    pair.server.receive_datagrams(records, 0.0, unproven_way=way)
    return drain(pair.server)


@pytest.mark.parametrize("seed", range(20))
def test_a_handshake_with_a_cookie_completes_under_loss_and_disorder(make_pair, seed):
    pair = make_pair(loss=0.2, duplication=0.1, reordering=0.2, seed=seed, client_way=HERE)
    pair.connect()
    assert any(map(asks_for_cookie, pair.sent[pair.server]))


def test_the_request_is_smaller_than_what_asked_for_it_and_no_flight(make_pair, drain):
    pair = make_pair()
    hello = knock(pair, drain)
    (request,) = answer(pair, drain, hello)
    assert asks_for_cookie(request)
    assert len(request) < len(hello)
    assert pair.server.state is SessionState.NEW
    assert not pair.server.has_heard
    for second in range(1, 30):
        pair.server.handle_timeout(float(second))
    assert drain(pair.server) == []


def test_the_request_is_repeated_as_often_as_the_hello_and_once_per_batch(make_pair, drain):
    pair = make_pair()
    hello = knock(pair, drain)
    for _ in range(10):
        (request,) = answer(pair, drain, hello, hello, hello)
        assert asks_for_cookie(request)


def test_a_cookie_proves_the_way_by_which_it_was_asked_for(make_pair, drain):
    """The client is heard by another one by now, and would not take a second request."""
    pair = make_pair()
    pair.client.receive_datagrams(answer(pair, drain, knock(pair, drain)), 0.0)
    (hello,) = drain(pair.client)
    assert pair.server.proven_way is None
    assert sum(map(len, answer(pair, drain, hello, way=THERE))) > len(hello)
    assert pair.server.has_heard
    assert pair.server.proven_way == HERE


def test_a_client_may_be_asked_by_a_few_ways(make_pair, drain):
    pair = make_pair()
    hello = knock(pair, drain)
    ways = [("udp", ("192.0.2.1", port)) for port in range(MAX_COOKIES + 1)]
    requests = [answer(pair, drain, hello, way=way) for way in ways]
    cookies = [request[-COOKIE_LENGTH:] for (request,) in requests]
    assert len(set(cookies)) == len(ways)
    assert answer(pair, drain, hello, way=ways[-1])[0][-COOKIE_LENGTH:] == cookies[-1]
    assert answer(pair, drain, hello, way=ways[0])[0][-COOKIE_LENGTH:] not in cookies


def test_a_cookie_is_good_for_one_session(make_pair, drain):
    pair, other = make_pair(), make_pair()
    pair.client.receive_datagrams(answer(pair, drain, knock(pair, drain)), 0.0)
    (hello,) = drain(pair.client)
    assert all(map(asks_for_cookie, answer(other, drain, hello)))


def test_where_the_address_is_proved_no_cookie_is_asked_for(make_pair):
    pair = make_pair()
    pair.connect()
    assert not any(map(asks_for_cookie, pair.sent[pair.server]))


def test_a_client_asks_for_nothing(make_pair):
    pair = make_pair(server_way=HERE)
    pair.connect()
    assert not any(map(asks_for_cookie, pair.sent[pair.client]))


def test_a_hello_in_fragments_is_judged_by_the_first_of_them(make_pair, drain):
    """The cookie must stand there; the others are taken once it has been seen."""
    pair = make_pair()
    hello = knock(pair, drain)
    first, second = fragments_of(hello, len(hello) - 60)
    (request,) = answer(pair, drain, first)
    assert asks_for_cookie(request)
    assert answer(pair, drain, second) == []
    pair.client.receive_datagrams([request], 0.0)
    (hello,) = drain(pair.client)
    assert answer(pair, drain, *fragments_of(hello, len(hello) - 60)) != []
    assert pair.server.has_heard


@FIXTURES_ARE_FINE
@given(st.lists(garbage, max_size=5))
def test_garbage_before_the_cookie_does_no_harm(make_pair, drain, batch):
    pair = make_pair()
    hello = knock(pair, drain)
    answer(pair, drain, *batch)
    (request,) = answer(pair, drain, hello)
    answer(pair, drain, *batch)
    pair.client.receive_datagrams([request], 0.0)
    (hello,) = drain(pair.client)
    pair.client.receive_datagrams(answer(pair, drain, hello), 0.0)
    assert answer(pair, drain, *drain(pair.client)) != []
    assert pair.server.is_up


def test_the_mtu_outlives_the_request(make_pair, rsa, drain):
    pair = make_pair(server=rsa, mtu=300, client_way=HERE)
    pair.connect()
    assert all(len(datagram) <= 300 for datagram in itertools.chain(*pair.sent.values()))


@pytest.mark.parametrize("way", [None, HERE])
def test_a_handshake_that_begins_before_there_is_a_way_ends_in_time(make_pair, drain, way):
    """With a fragment, to which there is no answer."""
    pair = make_pair()
    hello = knock(pair, drain)
    if way is not None:
        pair.client.receive_datagrams(answer(pair, drain, hello), 0.0)
        (hello,) = drain(pair.client)
    first, _ = fragments_of(hello, len(hello) - 60)
    pair.server.receive_datagrams([first], 0.0, unproven_way=way)
    assert pair.server.has_heard
    pair.server.start(1.0)
    pair.server.handle_timeout(DtlsSettings().handshake_timeout)
    assert pair.server.state is SessionState.FAILED
