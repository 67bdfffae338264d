"""Who knows the password is found out without taking a message apart, and with the same result."""

import random

from aioice import stun as codec
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.integrity import MAX_ATTRIBUTES, is_signed_with
from trio_webrtc.core.stun.message import PRIORITY, USERNAME

KEY = b"the right password"


def check(key: bytes | None = KEY) -> bytes:
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=random.Random(1).randbytes(12),
        attributes={USERNAME: "here:there", PRIORITY: 1},
    ).encode(key)


def test_the_right_password_is_told_from_a_wrong_one_and_from_none():
    assert is_signed_with(check(), KEY)
    assert not is_signed_with(check(b"guessed"), KEY)
    assert not is_signed_with(check(None), KEY)


@given(st.data())
def test_a_changed_check_is_signed_if_the_codec_says_so(data):
    datagram = bytearray(check())
    for _ in range(data.draw(st.integers(0, 2))):
        datagram[data.draw(st.integers(0, len(datagram) - 1))] ^= data.draw(st.integers(1, 255))
    is_signed = is_signed_with(bytes(datagram), KEY)
    try:
        Message.decode(bytes(datagram))
        decoded = codec.parse_message(bytes(datagram))
    except (MalformedPacketError, ValueError):
        return
    assert is_signed == decoded.check_message_integrity(KEY)


@given(st.binary(max_size=200), st.binary(max_size=30))
def test_junk_is_signed_by_nobody(junk, key):
    assert not is_signed_with(junk, key)


def test_the_signature_is_not_looked_for_behind_countless_attributes():
    empty = b"\x80\x22\x00\x00"
    data = check()[:20]
    for count, found in ((MAX_ATTRIBUTES - 1, True), (MAX_ATTRIBUTES, False)):
        message = data + empty * count
        message += b"\x00\x08\x00\x14" + codec.message_integrity(message, KEY)
        assert is_signed_with(message, KEY) is found
