"""What an application may decide, and what it is told where it cannot."""

import datetime

import pytest

from trio_webrtc import Certificate, Configuration, IceServer, SctpSettings, UsageError


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("stun:stun.example.org", ("stun.example.org", 3478)),
        ("stun:stun.example.org:19302", ("stun.example.org", 19302)),
        ("stun:192.0.2.1:1", ("192.0.2.1", 1)),
        ("stun:[2001:db8::1]:3479", ("2001:db8::1", 3479)),
    ],
)
def test_a_stun_url_names_a_host_and_a_port(url, host):
    assert IceServer(url).stun_hosts == (host,)


@pytest.mark.parametrize(
    "url",
    ["", "stun:", "http://example.org", "stun:a:0", "stun:a:65536", "stun:a:b", "stun://a", "stun:a?transport=tcp"],
)
def test_what_is_no_stun_url_is_refused(url):
    with pytest.raises(UsageError, match="STUN URL"):
        IceServer(url)


@pytest.mark.parametrize("url", ["turn:relay.example.org", "turns:relay.example.org:443?transport=tcp"])
def test_a_relay_is_refused_until_there_are_any(url):
    with pytest.raises(UsageError, match="TURN relays are not supported yet"):
        IceServer(["stun:ok.example.org", url])
    with pytest.raises(UsageError, match="TURN relays"):
        Configuration(ice_transport_policy="relay")


@pytest.mark.parametrize(
    "wrong",
    [
        {"linger": -1.0},
        {"close_timeout": float("inf")},
        {"restart_timeout": float("nan")},
        {"port_range": (2000, 1000)},
        {"port_range": (0, 10)},
        {"announced_hosts": ["example.org"]},
        {"announced_hosts": "192.0.2.1"},
        {"ice_credentials": ("abc", "x" * 22)},
        {"ice_credentials": ("abcd", "x" * 21)},
        {"ice_credentials": ("ab cd", "x" * 22)},
        {"max_message_size": 0},
        {"max_message_size": 1_048_576},
        {"max_channels": 0},
        {"max_channels": 65_536},
        {"max_incoming_channels": 0},
        {"high_water_mark": 0},
        {"bundle_policy": "none"},
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_that_names_it(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Configuration(**wrong)


def test_larger_messages_need_a_larger_receive_buffer():
    settings = SctpSettings(receive_buffer=4_194_304)
    assert Configuration(max_message_size=2_097_152, sctp=settings).max_message_size == 2_097_152


def test_an_applications_own_certificate_is_the_one_presented():
    made = Certificate.generate(now=datetime.datetime.now(datetime.UTC))
    kept = Certificate.from_pem(made.pem, made.private_key_pem)
    assert Configuration(certificates=[kept]).certificates[0].fingerprints() == made.fingerprints()
