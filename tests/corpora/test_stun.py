"""STUN messages of other implementations, of fuzzers, and of RFC 5769."""

import hashlib
import json
import random

import pytest

from trio_webrtc.core.contract import MalformedPacketError, Received
from trio_webrtc.core.ice import Agent, Credentials, parse_candidate
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import (
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)

from .frugal import check_is_frugal, files_of

FOLDERS = ("libwebrtc-fuzz/stun-corpus", "aiortc-vectors/aioice")


@pytest.fixture
def datagrams(corpora):
    return [(path.name, path.read_bytes()) for folder in FOLDERS for path in files_of(corpora / folder)]


@pytest.fixture
def rfc5769(corpora):
    return json.loads((corpora / "rfc-vectors" / "vectors.json").read_text())["rfc5769"]


def decode(datagram):
    try:
        return Message.decode(datagram)
    except MalformedPacketError:
        return None


def checking_agent():
    agent = Agent(controlling=True, rng=random.Random(1))
    agent.add_local_base("via", ("192.0.2.1", 1), 0.0)
    agent.add_remote_candidate(parse_candidate("1 1 udp 1 192.0.2.2 2 typ host"), 0.0)
    agent.set_remote_credentials(Credentials("THEM", "PasswordOfTheOtherSide"), 0.0)
    return agent


def test_every_file_is_a_message_or_malformed(datagrams):
    for name, datagram in datagrams:
        check_is_frugal(name, lambda: None, lambda _, datagram=datagram: decode(datagram))
    assert sum(decode(datagram) is not None for _, datagram in datagrams) >= 10


def test_an_agent_amid_its_checks_survives_every_file(datagrams):
    for name, datagram in datagrams:
        batch = [Received("via", ("192.0.2.2", 2), datagram)]
        check_is_frugal(name, checking_agent, lambda agent, batch=batch: agent.receive_datagrams(batch, 0.1))


def test_the_checks_that_aioice_records_are_understood(corpora):
    folder = corpora / "aiortc-vectors" / "aioice"
    controlled = Message.decode((folder / "binding_request_ice_controlled.bin").read_bytes())
    assert controlled.get(ICE_CONTROLLED) is not None
    controlling = Message.decode((folder / "binding_request_ice_controlling.bin").read_bytes())
    assert controlling.get(ICE_CONTROLLING) is not None
    assert controlling.get(PRIORITY) is not None
    response = Message.decode((folder / "binding_response.bin").read_bytes())
    assert response.message_class is MessageClass.RESPONSE
    assert response.get(XOR_MAPPED_ADDRESS) is not None


def test_the_request_of_rfc_5769_is_understood_and_its_integrity_holds(rfc5769):
    request = Message.decode(bytes.fromhex(rfc5769["request"]))
    assert (request.method, request.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert request.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert request.get(USERNAME) == "evtj:h6vY"
    assert request.get(PRIORITY) == 0x6E0001FF
    assert request.get(ICE_CONTROLLED) == 0x932FF9B151263B36
    assert request.is_signed_with(rfc5769["short_term_password"].encode())
    assert not request.is_signed_with(b"another password")


@pytest.mark.parametrize(
    ("name", "address"),
    [("response_v4", ("192.0.2.1", 32853)), ("response_v6", ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_responses_of_rfc_5769_are_understood_and_their_integrity_holds(rfc5769, name, address):
    response = Message.decode(bytes.fromhex(rfc5769[name]))
    assert response.message_class is MessageClass.RESPONSE
    assert response.get(XOR_MAPPED_ADDRESS) == address
    assert response.is_signed_with(rfc5769["short_term_password"].encode())


def test_the_request_with_long_term_credentials_of_rfc_5769_is_understood(rfc5769):
    credentials = rfc5769["long_term"]
    request = Message.decode(bytes.fromhex(rfc5769["request_long_term"]))
    assert request.get(USERNAME) == credentials["username"]
    # RFC 8489 §9.2.2: the key of long-term credentials.
    parts = (credentials["username"], credentials["realm"], credentials["password_saslprepped"])
    key = hashlib.md5(":".join(parts).encode()).digest()
    assert request.is_signed_with(key)


@pytest.mark.parametrize("name", ["request", "response_v4", "response_v6"])
def test_damage_to_rfc_5769_is_always_noticed(rfc5769, name):
    good = bytes.fromhex(rfc5769[name])
    # The type of FINGERPRINT, which stands last, is all that neither it nor MESSAGE-INTEGRITY protects.
    for position in range(len(good) - 8):
        bad = bytearray(good)
        bad[position] ^= 0x81
        message = decode(bytes(bad))
        assert message is None or not message.is_signed_with(rfc5769["short_term_password"].encode())
