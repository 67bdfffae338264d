"""Offers of audio, video and data: what is answered to whom, and whose transport carries the data."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_webrtc.core.sdp import parse
from trio_webrtc.errors import InvalidDescriptionError

from .conftest import BROWSER_OFFER, FINGERPRINT, Side

TRANSPORT_LINES = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup", "a=ice-options")


def without_transport(text):
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(TRANSPORT_LINES))


def split_sections(offer):
    """The session's part, and that of each section."""
    head, *sections = offer.split("m=")
    return [head, *(f"m={section}" for section in sections)]


def test_audio_and_video_are_rejected_and_data_is_accepted(right):
    answer = parse(right.answers(BROWSER_OFFER))
    assert answer.find("group").value == "BUNDLE 2"
    audio, video, data = answer.media
    for media, kind, format_, mid in ((audio, "audio", "111", "0"), (video, "video", "96", "1")):
        assert (media.kind, media.port, media.protocol) == (kind, 0, "UDP/TLS/RTP/SAVPF")
        assert media.formats == (format_,)
        assert [str(found) for found in media.attributes] == ["inactive", f"mid:{mid}"]
    assert data.port == 9
    assert data.find("mid").value == "2"
    assert right.applied.data_negotiated
    assert right.applied.remote.mid == "2"
    assert right.applied.remote.ufrag == "sTb5"


def test_an_offer_without_data_is_rejected_whole(right):
    offer = "".join(split_sections(BROWSER_OFFER)[:3]).replace("BUNDLE 0 1 2", "BUNDLE 0 1")
    answer = parse(right.answers(offer))
    assert [media.port for media in answer.media] == [0, 0]
    assert not answer.has("group")
    assert right.applied.remote is None
    assert not right.applied.data_negotiated


def test_only_the_first_data_section_is_accepted(right):
    offer = BROWSER_OFFER.replace(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
    )
    assert [media.port for media in parse(right.answers(offer)).media] == [9, 0, 0]
    assert right.applied.remote.mid == "0"


def test_an_application_that_is_not_data_channels_is_rejected(right):
    offer = BROWSER_OFFER.replace("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=application 9 UDP/BFCP *")
    answer = parse(right.answers(offer))
    assert [(media.protocol, media.port) for media in answer.media][1] == ("UDP/BFCP", 0)
    assert right.applied.remote.mid == "2"


def test_data_keeps_its_own_transport_though_another_section_is_tagged(right):
    offer = BROWSER_OFFER.replace("a=ice-ufrag:sTb5", "a=ice-ufrag:audio", 1)
    assert right.sets_remote("offer", offer).remote.ufrag == "sTb5"


def test_data_without_a_transport_of_its_own_uses_that_of_the_tagged_section(right):
    head, audio, video, data = split_sections(BROWSER_OFFER)
    candidate = "a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\n"
    remote = right.sets_remote("offer", head + audio + candidate + video + without_transport(data)).remote
    assert remote.ufrag == "sTb5"
    assert remote.fingerprints == (FINGERPRINT,)
    assert remote.trickle
    assert remote.mid == "2"
    assert remote.candidates == ("candidate:1 1 udp 1 192.0.2.1 4000 typ host",)


def test_a_bundle_only_data_section_is_accepted(right):
    head, audio, video, data = split_sections(BROWSER_OFFER)
    data = without_transport(data).replace("m=application 9", "m=application 0") + "a=bundle-only\n"
    answer = parse(right.answers(head + audio + video + data))
    assert [media.port for media in answer.media] == [0, 0, 9]
    assert answer.find("group").value == "BUNDLE 2"
    assert not answer.media[2].has("bundle-only")
    assert right.applied.remote.ufrag == "sTb5"


def test_port_zero_without_bundle_only_means_that_data_is_not_offered(right):
    offer = BROWSER_OFFER.replace("m=application 9", "m=application 0")
    assert [media.port for media in parse(right.answers(offer)).media] == [0, 0, 0]
    assert right.applied.remote is None


def test_attributes_of_the_session_hold_for_its_sections(right):
    head, audio, video, data = split_sections(BROWSER_OFFER)
    transport = "".join(line for line in data.splitlines(keepends=True) if line.startswith(TRANSPORT_LINES))
    offer = head + transport + "a=ice-lite\na=end-of-candidates\n" + without_transport(audio + video + data)
    remote = right.sets_remote("offer", offer).remote
    assert (remote.ufrag, remote.fingerprints) == ("sTb5", (FINGERPRINT,))
    assert remote.lite
    assert remote.end_of_candidates


def test_fingerprints_of_a_section_replace_those_of_the_session(right):
    head, audio, video, data = split_sections(BROWSER_OFFER)
    data += "a=fingerprint:SHA-512 01:ab\n"
    remote = right.sets_remote("offer", head + "a=fingerprint:sha-1 00:11\n" + audio + video + data).remote
    assert remote.fingerprints == (FINGERPRINT, "sha-512 01:AB")


def test_an_offer_without_mids_or_groups_is_answered_without(right):
    _, _, _, data = split_sections(BROWSER_OFFER)
    offer = "v=0\no=- 1 1 IN IP4 0.0.0.0\n" + data.replace("a=mid:2\n", "")
    answer = parse(right.answers(offer))
    assert not answer.has("group")
    assert not answer.media[0].has("mid")
    assert right.applied.data_negotiated
    assert right.negotiation.local_candidate_init("candidate:x") == ("candidate:x", None, 0, "right1")


def test_the_drafts_way_of_writing_data_is_answered_in_kind(right):
    offer = (
        BROWSER_OFFER.replace("9 UDP/DTLS/SCTP webrtc-datachannel", "9 DTLS/SCTP 5002")
        .replace("a=sctp-port:5000", "a=sctpmap:5002 webrtc-datachannel 256")
        .replace("a=max-message-size:262144\n", "")
    )
    data = parse(right.answers(offer)).media[2]
    assert (data.protocol, data.formats) == ("DTLS/SCTP", ("5000",))
    assert data.find("sctpmap").value == "5000 webrtc-datachannel 65535"
    assert not data.has("sctp-port")
    assert right.applied.remote.sctp_port == 5002
    assert right.applied.remote.max_message_size == 65536


def test_what_is_absent_means_what_its_rfc_says(right):
    offer = BROWSER_OFFER
    for line in ("a=sctp-port:5000\n", "a=max-message-size:262144\n", "a=setup:actpass\n", "a=ice-options:trickle\n"):
        offer = offer.replace(line, "")
    answer = right.answers(offer)
    assert "setup:active" in answer
    assert "ice-options" not in answer
    remote = right.applied.remote
    assert (remote.sctp_port, remote.max_message_size, remote.trickle) == (5000, 65536, False)


def test_zero_as_the_largest_message_size_is_passed_on(right):
    offer = BROWSER_OFFER.replace("max-message-size:262144", "max-message-size:0")
    assert right.sets_remote("offer", offer).remote.max_message_size == 0


def test_ice_options_may_be_separated_by_commas(right):
    offer = BROWSER_OFFER.replace("ice-options:trickle", "ice-options:ice2,trickle")
    assert "a=ice-options:trickle ice2" in right.answers(offer)
    assert right.applied.remote.trickle


def test_an_offer_of_thousands_of_sections_is_answered_without_much_ado(right):
    sections = "".join(f"m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:more{number}\n" for number in range(6_000))
    start = time.perf_counter()
    assert len(parse(right.answers(BROWSER_OFFER + sections)).media) == 6_003
    assert time.perf_counter() - start < 5  # a fraction of a second; minutes if anything were quadratic


def line_of(text, what, occurrence=1):
    """The number of the n-th line that begins so."""
    numbers = [number for number, line in enumerate(text.splitlines(), start=1) if line.startswith(what)]
    return numbers[occurrence - 1]


@pytest.mark.parametrize(
    ("old", "new", "expected", "where"),
    [
        ("a=ice-ufrag:sTb5\n", "", "a=ice-ufrag", ("m=application", 1)),
        ("a=ice-pwd:8vj6I5v5wGxnIY360GrTXjvM\n", "", "a=ice-pwd", ("m=application", 1)),
        (f"a=fingerprint:{FINGERPRINT}\n", "", "a=fingerprint", ("m=application", 1)),
        ("ufrag:sTb5", "ufrag:sT5", "ice-ufrag", ("a=ice-ufrag", 3)),
        ("ufrag:sTb5", "ufrag:sT 5", "ice-ufrag", ("a=ice-ufrag", 3)),
        ("pwd:8vj6I5v5wGxnIY360GrTXjvM", "pwd:short", "ice-pwd", ("a=ice-pwd", 3)),
        ("sha-256 AB", "sha-256AB", "fingerprint like", ("a=fingerprint", 3)),
        ("setup:actpass", "setup:holdconn", "a setup of", ("a=setup", 3)),
        ("sctp-port:5000", "sctp-port:65536", "SCTP port", ("a=sctp-port", 1)),
        ("sctp-port:5000", "sctp-port:0", "SCTP port", ("a=sctp-port", 1)),
        ("max-message-size:262144", "max-message-size:much", "max-message-size", ("a=max-message-size", 1)),
        ("mid:2", "mid:1", "'1' is repeated", ("m=application", 1)),
        ("mid:2", "mid:", "a mid of", ("a=mid", 3)),
        ("BUNDLE 0 1 2", "BUNDLE 0 1 2 3", "no mid '3'", ("a=group", 1)),
        ("a=msid-semantic: WMS", "a=group:BUNDLE 2", "one BUNDLE group only", ("a=group", 2)),
    ],
)
def test_what_is_wrong_with_an_offer_is_told_with_its_line(right, old, new, expected, where):
    offer = BROWSER_OFFER.replace(old, new)
    with pytest.raises(InvalidDescriptionError, match=expected) as raised:
        right.sets_remote("offer", offer)
    assert raised.value.line == line_of(offer, *where)
    assert right.state == "stable"


def test_what_is_wrong_in_a_section_that_is_rejected_does_not_matter(right):
    offer = BROWSER_OFFER.replace("a=setup:actpass", "a=setup:whatever", 1).replace("a=ice-pwd:8vj6", "a=ice-pwd: ", 1)
    assert right.sets_remote("offer", offer).remote.ufrag == "sTb5"


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_offers_are_answered_or_refused(data):
    lines = BROWSER_OFFER.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["drop", "repeat", "move", "cut", "port"])):
            case "drop" if len(lines) > 1:
                del lines[index]
            case "repeat":
                lines.insert(index, lines[index])
            case "move":
                lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(index))
            case "cut":
                lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))] + data.draw(
                    st.text(max_size=3)
                )
            case _:
                lines[index] = lines[index].replace(" 9 ", " 0 ")
    answer_or_refuse("\n".join(lines))


def answer_or_refuse(offer):
    """Anything but InvalidDescriptionError fails the test; an answer has to fit its offer."""
    side = Side("right")
    try:
        side.sets_remote("offer", offer)
    except InvalidDescriptionError:
        return None
    applied = side.sets_local("answer")
    answer = parse(side.describe("current-local")[1])
    assert [media.kind for media in answer.media] == [media.kind for media in parse(offer).media]
    assert sum(media.port != 0 for media in answer.media) == applied.data_negotiated
    return applied


def test_descriptions_of_other_projects_are_answered_or_refused(corpora):
    for folder in ("browser-sdp", "mozilla-sdp", "sdp-transform", "jsep-rfc9429", "libwebrtc-fuzz/sdp-corpus"):
        for file in sorted((corpora / folder).iterdir()):
            answer_or_refuse(file.read_bytes().decode(errors="surrogateescape"))


def test_captured_offers_of_browsers_are_answered(corpora):
    offers = sorted((corpora / "browser-sdp").glob("*-offer.sdp"))
    assert len(offers) >= 6
    for file in offers:
        applied = answer_or_refuse(file.read_bytes().decode())
        has_data = "webrtc-datachannel" in file.read_text()
        assert applied.data_negotiated == has_data, file
        if has_data:
            assert applied.dtls_role == "client"
            assert applied.remote.trickle
            assert len(applied.remote.fingerprints) == 1
            assert applied.remote.max_message_size in {262144, 1073741823}
