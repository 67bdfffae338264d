"""An answer of the peer's has to fit our offer."""

import pytest

from trio_webrtc.errors import InvalidDescriptionError


@pytest.fixture
def exchanged(left, right):
    """Our offer, set, and an answer that fits it."""
    left.request_data()
    return left, right.answers(left.offers())


def test_an_answer_by_a_real_product_is_understood(left, corpora):
    for file in sorted((corpora / "browser-sdp").glob("*-dc-answer.sdp")):
        side = type(left)("left")
        side.request_data()
        side.offers()
        applied = side.sets_remote("answer", file.read_bytes().decode())
        assert applied.data_negotiated
        assert applied.dtls_role == "server"
        assert applied.remote.candidates
        assert applied.remote.end_of_candidates


@pytest.mark.parametrize(
    ("change", "expected", "line"),
    [
        (lambda text: text[: text.index("a=group")] + "a=x\r\n", "1 media sections, found 0", None),
        (lambda text: text + "m=audio 9 RTP/AVP 0\r\n", "1 media sections, found 2", 16),
        (lambda text: text.replace("m=application 9", "m=video 9"), "to be application as it was offered", 7),
        (lambda text: text.replace("mid:0", "mid:1").replace("BUNDLE 0", "BUNDLE 1"), "the mid '0'", 7),
        (lambda text: text.replace("UDP/DTLS/SCTP", "DTLS/SCTP"), "to use UDP/DTLS/SCTP", 7),
        (lambda text: text.replace("webrtc-datachannel", "other"), "to be of data channels", 7),
        (lambda text: text.replace("setup:active", "setup:actpass"), "active or passive", 12),
        (lambda text: text.replace("a=ice-ufrag:right1\r\n", ""), "a=ice-ufrag", 7),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_offer_stays(exchanged, change, expected, line):
    left, answer = exchanged
    with pytest.raises(InvalidDescriptionError, match=expected) as raised:
        left.sets_remote("answer", change(answer))
    assert raised.value.line == line
    assert left.state == "have-local-offer"
    assert left.sets_remote("answer", answer).data_negotiated


def test_an_answer_may_leave_out_mid_and_group(exchanged):
    left, answer = exchanged
    answer = answer.replace("a=mid:0\r\n", "").replace("a=group:BUNDLE 0\r\n", "")
    assert left.sets_remote("answer", answer).data_negotiated


def test_an_answer_without_setup_is_active(exchanged):
    left, answer = exchanged
    assert left.sets_remote("answer", answer.replace("a=setup:active\r\n", "")).dtls_role == "server"


def test_a_section_that_was_not_offered_cannot_be_accepted(left, right, browser_offer):
    left.answers(browser_offer)  # audio and video were rejected, and are from now on
    answer = right.answers(left.offers())
    with pytest.raises(InvalidDescriptionError, match="because it was not offered"):
        left.sets_remote("answer", answer.replace("m=audio 0", "m=audio 9"))


def test_a_group_has_to_be_part_of_an_offered_one(left, right, browser_offer):
    left.answers(browser_offer)
    answer = right.answers(left.offers())
    with pytest.raises(InvalidDescriptionError, match="BUNDLE group made of an offered one"):
        left.sets_remote("answer", answer.replace("BUNDLE 2", "BUNDLE 0 2"))
