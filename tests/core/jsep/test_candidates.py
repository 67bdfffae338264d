"""Candidates in descriptions, and those that trickle in behind them."""

import pytest

from trio_webrtc.core.jsep import CandidateFate
from trio_webrtc.core.jsep.remote import MAX_TRICKLED_CANDIDATES
from trio_webrtc.core.sdp import parse
from trio_webrtc.errors import InvalidDescriptionError, UsageError

HOST4 = "candidate:1 1 udp 2130706431 192.0.2.1 4000 typ host"
HOST6 = "candidate:2 1 udp 2130706431 2001:db8::1 4001 typ host"
NAMED = "candidate:3 1 udp 2130706431 2b6e.local 4002 typ host"
TCP = "candidate:4 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
SRFLX = "candidate:5 1 udp 1694498815 198.51.100.1 4003 typ srflx raddr 192.0.2.1 rport 4000"
RELAY = "candidate:6 1 udp 16777215 203.0.113.1 4004 typ relay raddr 198.51.100.1 rport 4003"
RTCP = "candidate:1 2 udp 2130706430 192.0.2.1 4005 typ host"


@pytest.mark.parametrize(
    ("candidates", "port", "connection"),
    [
        ((), 9, "IN IP4 0.0.0.0"),
        ((HOST4,), 4000, "IN IP4 192.0.2.1"),
        ((HOST6,), 4001, "IN IP6 2001:db8::1"),
        ((HOST6, HOST4), 4000, "IN IP4 192.0.2.1"),
        ((HOST4, HOST6, SRFLX), 4003, "IN IP4 198.51.100.1"),
        ((SRFLX, RELAY, HOST4), 4004, "IN IP4 203.0.113.1"),
        ((NAMED, TCP, RTCP), 9, "IN IP4 0.0.0.0"),
        ((HOST4, HOST4), 4000, "IN IP4 192.0.2.1"),
        (("candidate:who knows",), 9, "IN IP4 0.0.0.0"),
    ],
)
def test_the_default_candidate_stands_in_the_section(left, candidates, port, connection):
    left.request_data()
    left.candidates = candidates
    (media,) = parse(left.offers()).media
    assert media.port == port
    assert str(media.connection) == connection
    assert tuple(f"candidate:{found.value}" for found in media.find_all("candidate")) == candidates
    assert not media.has("end-of-candidates")


def test_a_description_grows_with_what_is_gathered(left):
    left.request_data()
    assert "candidate" not in left.offers()
    left.candidates, left.ended = (HOST4,), True
    text = left.describe("pending-local")[1]
    assert f"a={HOST4}\r\n" in text
    assert "a=end-of-candidates\r\n" in text
    assert parse(text).origin.session_version == 1


def test_candidates_of_a_description_are_handed_on(left, right):
    left.request_data()
    left.candidates, left.ended = (HOST4, HOST6, TCP, NAMED), True
    remote = right.sets_remote("offer", left.offers()).remote
    assert remote.candidates == left.candidates
    assert remote.end_of_candidates


def test_a_candidate_of_ours_is_named_after_its_section(left, browser_offer):
    with pytest.raises(UsageError):
        left.negotiation.local_candidate_init(HOST4)
    left.answers(browser_offer)
    assert left.negotiation.local_candidate_init(HOST4) == (HOST4, "2", 2, "left1")


def test_a_candidate_of_a_restart_is_named_after_the_new_generation(connected):
    left, _ = connected
    left.restart()
    left.offers()
    assert left.negotiation.local_candidate_init(HOST4)[3] == "left2"
    left.sets_local("rollback")
    assert left.negotiation.local_candidate_init(HOST4)[3] == "left1"


@pytest.mark.parametrize(
    ("mid", "index", "ufrag", "fate"),
    [
        ("2", 2, "sTb5", CandidateFate.ADD),
        ("2", None, None, CandidateFate.ADD),
        (None, 2, None, CandidateFate.ADD),
        ("2", 0, None, CandidateFate.ADD),  # W3C: the mid counts
        ("0", 0, "sTb5", CandidateFate.IGNORE),
        (None, 1, None, CandidateFate.IGNORE),
        ("2", 2, "old1", CandidateFate.IGNORE),
    ],
)
def test_a_candidate_finds_its_section_and_generation(right, browser_offer, mid, index, ufrag, fate):
    right.sets_remote("offer", browser_offer)
    for line in (HOST4, f"a={HOST4}"):
        candidate = right.negotiation.parse_candidate(mid, index, line, ufrag)
        assert candidate.fate is fate
        assert candidate.line == (HOST4 if fate is CandidateFate.ADD else "")


def test_a_candidate_of_the_tagged_section_is_ours_if_that_carries_the_data(right, browser_offer):
    head, data = browser_offer.split("m=application")
    data = data.replace("a=ice-ufrag:sTb5\n", "")
    right.sets_remote("offer", f"{head}m=application{data}")
    for mid, fate in (("0", CandidateFate.ADD), ("1", CandidateFate.IGNORE), ("2", CandidateFate.ADD)):
        assert right.negotiation.parse_candidate(mid, None, HOST4, None).fate is fate


def test_a_candidate_may_name_its_generation_in_its_line(right, browser_offer):
    right.sets_remote("offer", browser_offer)
    for ufrag, fate in (("sTb5", CandidateFate.ADD), ("old1", CandidateFate.IGNORE)):
        line = f"{HOST4} generation 0 ufrag {ufrag} network-cost 999"
        assert right.negotiation.parse_candidate("2", 2, line, None).fate is fate


@pytest.mark.parametrize("line", [None, "", " "])
@pytest.mark.parametrize(("mid", "index"), [(None, None), ("2", 2)])
def test_no_candidate_is_the_end_of_candidates(right, browser_offer, line, mid, index):
    right.sets_remote("offer", browser_offer)
    assert right.negotiation.parse_candidate(mid, index, line, None).fate is CandidateFate.END
    assert right.sets_local("answer").remote.end_of_candidates


def test_the_end_of_another_generation_or_section_is_ignored(right, browser_offer):
    right.sets_remote("offer", browser_offer)
    assert right.negotiation.parse_candidate("2", 2, "", "old1").fate is CandidateFate.IGNORE
    assert right.negotiation.parse_candidate("1", 1, "", None).fate is CandidateFate.IGNORE


def test_what_nobody_could_place_is_refused(right, browser_offer):
    parse_candidate = right.negotiation.parse_candidate
    with pytest.raises(UsageError, match="remote description"):
        parse_candidate("2", 2, HOST4, None)
    right.sets_remote("offer", browser_offer)
    with pytest.raises(UsageError, match="the mid '3'"):
        parse_candidate("3", 2, HOST4, None)
    for index in (3, -1):
        with pytest.raises(UsageError, match="section"):
            parse_candidate(None, index, HOST4, None)
    with pytest.raises(UsageError, match="sdp_mid or sdp_m_line_index"):
        parse_candidate(None, None, HOST4, None)
    for line in ("candidat", "candidate:1\r\na=setup:active", "candidate:1\0"):
        with pytest.raises(InvalidDescriptionError, match="a candidate such as"):
            parse_candidate("2", 2, line, None)


def test_after_a_restart_candidates_of_the_old_generation_are_ignored(connected):
    left, right = connected
    left.restart()
    right.sets_remote("offer", left.offers())
    assert right.negotiation.parse_candidate("0", 0, HOST4, "left1").fate is CandidateFate.IGNORE
    assert right.negotiation.parse_candidate("0", 0, HOST4, "left2").fate is CandidateFate.ADD


def test_what_trickled_in_shows_in_the_remote_description_and_its_transport(right, browser_offer):
    right.sets_remote("offer", browser_offer)
    right.negotiation.parse_candidate("2", 2, HOST4, None)
    text = right.describe("pending-remote")[1]
    assert f"candidate:{parse(text).media[2].find('candidate').value}" == HOST4
    right.negotiation.parse_candidate(None, None, None, None)
    assert parse(right.describe("pending-remote")[1]).media[2].has("end-of-candidates")
    remote = right.sets_local("answer").remote
    assert remote.candidates == (HOST4,)
    assert remote.end_of_candidates


def test_a_flood_of_candidates_is_cut_off(right, browser_offer):
    right.sets_remote("offer", browser_offer)
    for _ in range(MAX_TRICKLED_CANDIDATES):
        assert right.negotiation.parse_candidate("2", 2, HOST4, None).fate is CandidateFate.ADD
    assert right.negotiation.parse_candidate("2", 2, HOST4, None).fate is CandidateFate.IGNORE


def test_a_peer_without_data_section_has_no_use_for_candidates(right, browser_offer):
    right.sets_remote("offer", browser_offer.replace("m=application 9", "m=application 0"))
    assert right.negotiation.parse_candidate("2", 2, HOST4, None).fate is CandidateFate.IGNORE
    assert right.negotiation.parse_candidate(None, None, None, None).fate is CandidateFate.IGNORE
