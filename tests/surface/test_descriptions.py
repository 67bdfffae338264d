"""The two values that signalling carries."""

import json

import pytest

from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.errors import InvalidDescriptionError, UsageError

# As `JSON.stringify` writes them in a browser.
DESCRIPTION = '{"type":"offer","sdp":"v=0\\r\\n"}'
CANDIDATE = (
    '{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":"abcd"}'
)


def test_a_description_survives_the_way_through_json():
    description = SessionDescription.from_dict(json.loads(DESCRIPTION))
    assert description == SessionDescription("offer", "v=0\r\n")
    assert json.loads(json.dumps(description.as_dict())) == json.loads(DESCRIPTION)


def test_a_candidate_survives_the_way_through_json():
    candidate = IceCandidate.from_dict(json.loads(CANDIDATE))
    assert candidate == IceCandidate("candidate:1 1 udp 1 192.0.2.1 9 typ host", "0", 0, "abcd")
    assert json.loads(json.dumps(candidate.as_dict())) == json.loads(CANDIDATE)


def test_what_is_optional_may_be_missing_and_what_is_more_is_ignored():
    assert IceCandidate.from_dict({"candidate": "", "foundation": "1"}) == IceCandidate("")
    assert SessionDescription.from_dict({"type": "rollback"}) == SessionDescription("rollback")
    assert SessionDescription.from_dict({"type": "answer", "sdp": "", "id": 1}) == SessionDescription("answer")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (None, "not NoneType"),
        ([], "not list"),
        ({}, "'type'"),
        ({"type": 1, "sdp": ""}, "'type'"),
        ({"type": "bid", "sdp": ""}, "not 'bid'"),
        ({"type": "offer"}, "'sdp'"),
        ({"type": "offer", "sdp": None}, "'sdp'"),
        ({"type": "rollback", "sdp": 1}, "'sdp'"),
    ],
)
def test_a_description_of_another_shape_is_refused_with_what_is_wrong(members, expected):
    with pytest.raises(InvalidDescriptionError, match=expected):
        SessionDescription.from_dict(members)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ("candidate:1", "not str"),
        ({}, "'candidate'"),
        ({"candidate": None}, "'candidate'"),
        ({"candidate": "", "sdpMid": 0}, "sdpMid"),
        ({"candidate": "", "sdpMLineIndex": "0"}, "sdpMLineIndex"),
        ({"candidate": "", "sdpMLineIndex": -1}, "sdpMLineIndex"),
        ({"candidate": "", "sdpMLineIndex": 65536}, "sdpMLineIndex"),
        ({"candidate": "", "sdpMLineIndex": True}, "sdpMLineIndex"),
        ({"candidate": "", "usernameFragment": 1}, "usernameFragment"),
    ],
)
def test_a_candidate_of_another_shape_is_refused_with_what_is_wrong(members, expected):
    with pytest.raises(InvalidDescriptionError, match=expected):
        IceCandidate.from_dict(members)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: SessionDescription("bid"), "not 'bid'"),
        (lambda: SessionDescription("offer", b"v=0"), "not bytes"),
        (lambda: IceCandidate(None), "not NoneType"),
        (lambda: IceCandidate("", sdp_mid=0), "sdp_mid"),
        (lambda: IceCandidate("", sdp_m_line_index=-1), "sdp_m_line_index"),
        (lambda: IceCandidate("", username_fragment=b"abcd"), "username_fragment"),
    ],
)
def test_who_makes_one_wrongly_is_told_so(make, expected):
    with pytest.raises(UsageError, match=expected):
        make()


def test_they_can_be_compared_hashed_and_not_changed():
    assert len({SessionDescription("offer"), SessionDescription("offer"), IceCandidate(""), IceCandidate("")}) == 2
    with pytest.raises(AttributeError):
        SessionDescription("offer").sdp = ""
