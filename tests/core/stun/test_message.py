import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import (
    ERROR_CODE,
    ICE_CONTROLLED,
    MAX_ATTRIBUTES,
    PRIORITY,
    UNKNOWN_ATTRIBUTES,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    TransactionIds,
)

# RFC 5769 §2.1: the sample request of a full agent, with SOFTWARE, padded with spaces.
RFC_5769_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
RFC_5769_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
KEY = b"a password that both know"
ID = bytes(range(12))


def binding_request(attributes=None):
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=ID,
        attributes=attributes or {},
    )


def with_attribute(data, kind, value):
    """`data` (with no FINGERPRINT after it that could break) and one more attribute."""
    padded = value + bytes(-len(value) % 4)
    body = data[20:] + kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + padded
    return data[:2] + len(body).to_bytes(2, "big") + data[4:20] + body


def without_fingerprint(data):
    body = data[20:-8]
    return data[:2] + len(body).to_bytes(2, "big") + data[4:20] + body


def test_the_sample_request_of_the_rfc_is_understood_and_authentic():
    message = Message.decode(RFC_5769_REQUEST)
    assert message.get(USERNAME) == "evtj:h6vY"
    assert message.get(PRIORITY) == 0x6E0001FF
    assert message.get(ICE_CONTROLLED) == 0x932FF9B151263B36
    assert message.is_signed_with(RFC_5769_PASSWORD)
    assert not message.is_signed_with(RFC_5769_PASSWORD + b"!")
    assert message.not_understood == ()


def test_the_other_samples_of_the_rfc_are_understood(corpora):
    vectors = json.loads((corpora / "rfc-vectors" / "vectors.json").read_text())["rfc5769"]
    password = vectors["short_term_password"].encode()
    for name, address in (("response_v4", "192.0.2.1"), ("response_v6", "2001:db8:1234:5678:11:2233:4455:6677")):
        message = Message.decode(bytes.fromhex(vectors[name]))
        assert message.get(XOR_MAPPED_ADDRESS) == (address, 32853)
        assert message.is_signed_with(password)


def test_what_others_found_to_break_parsers_raises_one_error_only(corpora):
    for file in sorted((corpora / "libwebrtc-fuzz" / "stun-corpus").iterdir()):
        try:
            Message.decode(file.read_bytes())
        except MalformedPacketError:
            pass


@settings(deadline=None)
@given(
    username=st.text(max_size=20),
    priority=st.integers(0, 2**32 - 1),
    nominating=st.booleans(),
    unknown=st.lists(st.integers(0, 0xFFFF), max_size=5),
    key=st.none() | st.binary(min_size=1, max_size=40),
)
def test_what_is_encoded_is_decoded_again(username, priority, nominating, unknown, key):
    attributes = {USERNAME: username, PRIORITY: priority, UNKNOWN_ATTRIBUTES: tuple(unknown)}
    if nominating:
        attributes[USE_CANDIDATE] = None
    message = Message.decode(binding_request(attributes).encode(key))
    assert (message.method, message.message_class, message.transaction_id) == (
        Method.BINDING,
        MessageClass.REQUEST,
        ID,
    )
    assert {attribute: message.attributes.get(attribute) for attribute in attributes} == attributes
    assert (USE_CANDIDATE in message.attributes) == nominating
    assert message.is_signed == (key is not None)
    if key is not None:
        assert message.is_signed_with(key)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_one_error_only(data):
    with pytest.raises(MalformedPacketError):
        Message.decode(data)


@settings(deadline=None)
@given(st.binary(max_size=100), st.integers(0, 0x3FFF))
def test_an_arbitrary_body_raises_one_error_only(body, kind):
    header = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + RFC_5769_REQUEST[4:20]
    try:
        Message.decode(header + body)
    except MalformedPacketError:
        pass


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=24)), max_size=4))
def test_well_formed_attributes_with_arbitrary_values_raise_one_error_only(attributes):
    data = without_fingerprint(binding_request().encode())
    for kind, value in attributes:
        data = with_attribute(data, kind, value)
    try:
        Message.decode(data).encode()
    except MalformedPacketError:
        pass


@settings(deadline=None)
@given(at=st.integers(0, len(RFC_5769_REQUEST) - 9), bit=st.integers(0, 7))
def test_one_flipped_bit_before_the_fingerprint_is_noticed(at, bit):
    data = bytearray(RFC_5769_REQUEST)
    data[at] ^= 1 << bit
    try:
        message = Message.decode(bytes(data))
    except MalformedPacketError:
        return
    # A length that swallows the FINGERPRINT is left to the signature.
    assert not message.is_signed_with(RFC_5769_PASSWORD)


@pytest.mark.parametrize("length", [0, 1, 19])
def test_a_header_cut_off_is_malformed(length):
    with pytest.raises(MalformedPacketError):
        Message.decode(RFC_5769_REQUEST[:length])


def test_an_attribute_that_reaches_beyond_its_message_is_malformed():
    data = bytearray(without_fingerprint(binding_request({USERNAME: "a:b"}).encode()))
    data[23] = 9
    with pytest.raises(MalformedPacketError, match="longer than its message"):
        Message.decode(bytes(data))


def test_a_message_of_very_many_attributes_is_malformed_and_soon_found_to_be():
    data = without_fingerprint(binding_request().encode())
    for _ in range(MAX_ATTRIBUTES):
        data = with_attribute(data, 0x7777, b"")
    assert len(Message.decode(data).not_understood) == MAX_ATTRIBUTES
    with pytest.raises(MalformedPacketError, match="more than 64 attributes"):
        Message.decode(with_attribute(data, 0x7777, b""))
    with pytest.raises(MalformedPacketError, match="more than 64 attributes"):
        Message.decode(data + bytes(60_000))


def test_nothing_may_follow_the_fingerprint():
    data = binding_request().encode()
    with pytest.raises(MalformedPacketError):
        Message.decode(with_attribute(data, 0x0006, b"a:b"))


def test_a_message_without_the_magic_cookie_is_malformed():
    data = binding_request().encode()
    with pytest.raises(MalformedPacketError):
        Message.decode(data[:4] + bytes(4) + data[8:])


def test_attributes_that_ought_to_be_understood_are_reported():
    data = without_fingerprint(binding_request().encode())
    data = with_attribute(with_attribute(data, 0x7777, b"1234"), 0xC057, b"1234")
    assert Message.decode(data).not_understood == (0x7777,)


def test_what_follows_the_integrity_is_ignored():
    data = without_fingerprint(binding_request({USERNAME: "a:b"}).encode(KEY))
    data = with_attribute(with_attribute(data, 0x7777, b"1234"), 0x0025, b"")
    message = Message.decode(data)
    assert message.is_signed_with(KEY)
    assert message.not_understood == ()
    assert USE_CANDIDATE not in message.attributes


def test_a_refusal_names_what_was_not_understood_and_is_signed():
    request = Message.decode(with_attribute(without_fingerprint(binding_request().encode()), 0x7777, b""))
    answer = Message.decode(request.refuse(420).encode(KEY))
    assert answer.message_class is MessageClass.ERROR
    assert answer.get(ERROR_CODE) == (420, "Unknown Attribute")
    assert answer.get(UNKNOWN_ATTRIBUTES) == (0x7777,)
    assert answer.is_signed_with(KEY)


def test_the_text_of_an_error_is_safe_to_show():
    answer = binding_request().refuse(400)
    answer.attributes[ERROR_CODE] = (499, "bad\x1b[31m\nnews" + "!" * 200)
    assert answer.error_text.isprintable()
    assert answer.error_text.startswith("499 bad")
    assert len(answer.error_text) < 120


def test_an_address_with_a_zone_can_be_answered():
    answer = binding_request().answer({XOR_MAPPED_ADDRESS: ("fe80::1", 7)})
    assert Message.decode(answer.encode(KEY)).get(XOR_MAPPED_ADDRESS) == ("fe80::1", 7)


def test_transaction_ids_are_96_bits_of_the_given_chance_and_those_of_one_client_begin_alike():
    ids, others = TransactionIds(random.Random(1)), TransactionIds(random.Random(2))
    some = [ids.new() for _ in range(100)]
    assert some == [id_ for ids in (TransactionIds(random.Random(1)),) for id_ in (ids.new() for _ in range(100))]
    assert len(set(some)) == 100
    assert {len(id_) for id_ in some} == {12}
    assert {id_[:4] for id_ in some} == {ids.prefix}
    assert ids.prefix != others.prefix
