import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_webrtc.core.ice import parse_candidate
from trio_webrtc.core.ice.candidate import Foundations, candidate_priority

LINES = [
    "842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 0.0.0.0 rport 0",
    "1 1 UDP 2122252543 fe80::1 60769 typ host",
    "3 1 tcp 2105524479 192.168.1.5 9 typ host tcptype active",
    "a+/9 1 udp 1 5b7b2d8e-0e5c-4f5e-8a57-27b9cd0ab6a3.local 5000 typ host",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("prefix", ["", "candidate:", "a=candidate:"])
def test_a_candidate_is_parsed_with_and_without_its_attribute_name(line, prefix):
    assert parse_candidate(prefix + line).to_sdp() == line


def test_what_chromium_adds_is_ignored():
    line = f"candidate:{LINES[0]} generation 0 ufrag sPpC network-id 1 network-cost 10"
    candidate = parse_candidate(line)
    assert (candidate.host, candidate.port, candidate.type) == ("198.51.100.7", 46154, "srflx")
    assert candidate.generation == 0


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "1 1 udp 1 10.0.0.1 9 host",
        "1 1 udp one 10.0.0.1 9 typ host",
        "1 1 udp 1 10.0.0.1 65536 typ host",
        "1 257 udp 1 10.0.0.1 9 typ host",
        "1 0 udp 1 10.0.0.1 9 typ host",
        "1 1 udp 4294967296 10.0.0.1 9 typ host",
        "1 1 udp 1 10.0.0.1 -9 typ host",
        "1 1 udp 1 10.0.0.1 9 typ host raddr 1.2.3.4 rport many",
        "1 1 udp 1 10.0.0.1 ٩ typ host",
        "1 1 udp 1 10.0.0.1 9 typ host\r\na=evil",
        "1 1 udp 1 10.0.0.1 9 typ host " + "x " * 1000,
    ],
)
def test_a_candidate_that_breaks_the_grammar_is_refused(line):
    with pytest.raises(ValueError, match=r".+"):
        parse_candidate(line)


@settings(deadline=None)
@given(st.text() | st.from_regex(r"\S+ [0-9]+ udp [0-9]+ \S+ [0-9]+ typ \S+( \S+ \S+)*", fullmatch=True))
def test_arbitrary_text_raises_one_error_only(text):
    try:
        parse_candidate(text)
    except ValueError:
        pass


def test_priorities_follow_the_recommended_formula():
    assert candidate_priority("host", 65535) == 2130706431
    assert candidate_priority("srflx", 65535) == 1694498815
    assert candidate_priority("host", 1) > candidate_priority("prflx", 65535) > candidate_priority("srflx", 65535)


def test_foundations_are_equal_for_what_is_likely_to_share_its_fate():
    foundations = Foundations()
    assert foundations.of("host", "10.0.0.1") == foundations.of("host", "10.0.0.1")
    assert foundations.of("host", "10.0.0.1") != foundations.of("host", "10.0.0.2")
    assert foundations.of("srflx", "10.0.0.1", "s1") != foundations.of("srflx", "10.0.0.1", "s2")
