import hmac

import pytest

from trio_webrtc.core.contract import Received
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import (
    ERROR_CODE,
    ICE_CONTROLLING,
    PRIORITY,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    Attribute,
)

SOFTWARE = Attribute[str]("SOFTWARE")
HERE = ("10.0.0.1", 1001)


def error_after(side, peer):
    side.world.run(0.1)
    (answer,) = peer.receive(MessageClass.ERROR)
    assert side.agent.counters.refused == 1
    assert not side.agent.is_validated(HERE, peer.address)
    return answer


def test_a_request_with_the_wrong_password_is_unauthenticated(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1, key=b"guessed")
    answer = error_after(lone_side, peer)
    assert answer.get(ERROR_CODE) == (401, "Unauthenticated")
    assert not answer.is_signed


@pytest.mark.parametrize("username", ["nobody:PEER", "nobody", "", ":", "{ours}", "{ours}x:PEER"])
def test_a_request_for_somebody_else_is_unauthenticated(lone_side, new_peer, username):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1, username=username.format(ours=lone_side.agent.local_credentials.ufrag))
    assert error_after(lone_side, peer).error_code == 401


def test_a_request_without_signature_or_name_is_bad(lone_side, new_peer):
    peer = new_peer(lone_side)
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=bytes(12),
        attributes={PRIORITY: 1, ICE_CONTROLLING: 1},
    )
    lone_side.world.carry(peer.address, HERE, request.encode())
    answer = error_after(lone_side, peer)
    assert answer.error_code == 400
    assert not answer.is_signed


@pytest.mark.parametrize("username", [None, "{ours}:", "{ours}:PEER", "nobody:PEER"])
def test_strangers_get_no_more_than_they_send(lone_side, new_peer, username):
    """It may be somebody else's address that they write on it."""
    peer = new_peer(lone_side)
    ours = lone_side.agent.local_credentials
    for padding in range(0, 64, 4):
        attributes = {} if username is None else {USERNAME: username.format(ours=ours.ufrag)}
        request = Message(
            method=Method.BINDING,
            message_class=MessageClass.REQUEST,
            transaction_id=bytes(12),
            attributes={**attributes, SOFTWARE: "s" * padding},
        ).encode(b"guessed" if padding % 8 else None)
        lone_side.world.carry(peer.address, HERE, request)
        lone_side.world.run(1.0)
        answers = peer.inbox
        assert sum(map(len, answers)) <= len(request)
        assert answers or len(request) < 52, "a refusal has no more than these"
        answers.clear()


def test_a_request_without_priority_is_bad(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1, priority=None)
    answer = error_after(lone_side, peer)
    assert answer.error_code == 400
    assert answer.is_signed_with(lone_side.agent.local_credentials.key)


def attribute(kind, value):
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)


def test_an_attribute_that_ought_to_be_understood_is_named_in_the_refusal(lone_side, new_peer):
    peer = new_peer(lone_side)
    ours = lone_side.agent.local_credentials
    # Signed by hand, since `encode` cannot be made to say what it does not know.
    body = attribute(0x0006, f"{ours.ufrag}:PEER".encode()) + attribute(0x7777, b"1234")
    header = bytes.fromhex("0001") + (len(body) + 24).to_bytes(2, "big") + bytes.fromhex("2112a442") + bytes(12)
    body += attribute(0x0008, hmac.digest(ours.key, header + body, "sha1"))
    lone_side.world.carry(peer.address, HERE, header + body)
    answer = error_after(lone_side, peer)
    assert answer.error_code == 420
    assert answer.get(UNKNOWN_ATTRIBUTES) == (0x7777,)
    assert answer.is_signed_with(ours.key)


def test_a_request_on_a_socket_that_is_not_ours_is_not_answered(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1)
    lone_side.agent.remove_local_base(HERE, lone_side.world.now)
    lone_side.world.run(0.1)
    assert peer.inbox == []
    assert lone_side.agent.counters.unexpected == 1


def test_indications_are_taken_in_silence(lone_side, new_peer):
    peer = new_peer(lone_side)
    keepalive = Message(method=Method.BINDING, message_class=MessageClass.INDICATION, transaction_id=bytes(12))
    lone_side.world.carry(peer.address, HERE, keepalive.encode())
    lone_side.world.run(0.1)
    assert peer.inbox == []
    assert lone_side.agent.counters.unexpected == 0


@pytest.mark.parametrize("key", [None, b"forged"])
def test_an_answer_that_is_not_signed_by_the_peer_is_as_if_it_had_not_come(new_pair, key):
    world, left, _ = new_pair()
    world.passes = lambda from_, to: False
    world.signal_candidates()
    world.exchange_credentials()
    world.run(0.01)
    (request,) = world.sent(MessageClass.REQUEST, from_=HERE)
    for answer in (request.answer({XOR_MAPPED_ADDRESS: HERE}), request.refuse(400), request.refuse(487)):
        left.agent.receive_datagrams([Received(HERE, ("10.0.0.2", 2002), answer.encode(key))], world.now)
    (pair,) = left.agent.pairs_snapshot()
    assert pair.state.value == "in-progress"
    assert pair.last_error == "unsigned answer 487 Role Conflict", "it may tell why nothing works"
    assert left.agent.controlling
    assert left.agent.counters.unexpected == 3
    world.passes = lambda from_, to: True
    world.run(5, until=world.is_connected)
    assert world.is_connected()


def test_a_signed_refusal_fails_the_pair_with_its_reason(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_remote_credentials(peer.credentials, lone_side.world.now)
    peer.check(HERE, controlling=1)
    lone_side.world.run(0.1)
    (request,) = peer.receive(MessageClass.REQUEST)
    lone_side.world.carry(peer.address, HERE, request.refuse(400).encode(peer.credentials.key))
    lone_side.world.run(0.1)
    (pair,) = lone_side.agent.pairs_snapshot()
    assert (pair.state.value, pair.last_error) == ("failed", "answered 400 Bad Request")
    assert "answered 400 Bad Request" in lone_side.agent.describe_failure()
