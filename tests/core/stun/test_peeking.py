"""What a shared port reads of a check agrees with what the whole decoder reads."""

import random

from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import PRIORITY, USERNAME
from trio_webrtc.core.stun.peeking import answered_transaction, is_binding_request, username_of

ICE_CHARS = st.text("abcXYZ019+/", min_size=4, max_size=40)


def check(username: str | None, message_class: MessageClass = MessageClass.REQUEST) -> bytes:
    attributes = {PRIORITY: 1} if username is None else {PRIORITY: 1, USERNAME: username}
    return Message(
        method=Method.BINDING,
        message_class=message_class,
        transaction_id=random.Random(1).randbytes(12),
        attributes=attributes,
    ).encode(b"password")


@given(ICE_CHARS, ICE_CHARS)
def test_both_names_of_a_check_are_read(ours, theirs):
    datagram = check(f"{ours}:{theirs}")
    assert is_binding_request(datagram)
    assert username_of(datagram) == (ours, theirs)


def test_a_check_without_a_colon_names_nobody():
    assert username_of(check("nobody")) is None
    assert username_of(check(None)) is None


def test_only_answers_belong_to_a_transaction():
    transaction_id = random.Random(1).randbytes(12)
    for message_class in (MessageClass.RESPONSE, MessageClass.ERROR):
        answer = check(None, message_class)
        assert answered_transaction(answer) == transaction_id
        assert not is_binding_request(answer)
    for message_class in (MessageClass.REQUEST, MessageClass.INDICATION):
        assert answered_transaction(check(None, message_class)) is None


@given(st.binary(max_size=80))
def test_junk_is_read_without_trouble(junk):
    username_of(junk)
    assert answered_transaction(junk) is None or len(junk) >= 20
    is_binding_request(junk)


@given(st.data())
def test_a_broken_check_names_whom_the_decoder_says_or_nobody(data):
    datagram = bytearray(check("here:there"))
    position = data.draw(st.integers(0, len(datagram) - 1))
    datagram[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = Message.decode(bytes(datagram)).attributes.get(USERNAME)
    except MalformedPacketError:
        return
    names = username_of(bytes(datagram))
    assert names is None or ":".join(names) == decoded
