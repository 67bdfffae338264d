"""Session descriptions of browsers, products, parsers' tests and RFC 9429."""

import random
import re

import pytest

from trio_webrtc.core.jsep import LocalTransport, Negotiation
from trio_webrtc.core.sdp import parse, to_text
from trio_webrtc.errors import InvalidDescriptionError

from .frugal import check_is_frugal, files_of

FOLDERS = ("browser-sdp", "jsep-rfc9429", "mozilla-sdp", "sdp-transform", "libwebrtc-fuzz/sdp-corpus")

NO_DESCRIPTIONS = {
    "01-media.sdp": "two lines to illustrate a BUNDLE group",
    "unittest-3.sdp": "a media section alone",
    "unittest-6.sdp": "a media section alone",
    "unittest-7.sdp": "a media section alone",
}

OURS = LocalTransport(
    ufrag="ours", password="22charactersarethemin.".replace(".", "x"), fingerprints=("sha-256 AA:BB",)
)


def texts_of(folder):
    return [(path.name, path.read_bytes().decode("utf-8", "surrogateescape")) for path in files_of(folder)]


def mended(text):
    """A description without what its collection has done to it.

    Mozilla's have comments, which its tests strip. RFC 9429 folds long lines; joined, they lack a space.
    """
    without_comments = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(";"))
    return re.sub(r"(?m)^(a=fingerprint:sha-256)(?=[0-9A-F]{2}:)", r"\1 ", without_comments)


@pytest.fixture
def descriptions(corpora):
    return [named for folder in FOLDERS for named in texts_of(corpora / folder)]


def read(text):
    try:
        return parse(text)
    except InvalidDescriptionError:
        return None


def take_offer(text):
    """Set as an offer and answer it; None if it is refused as it should be."""
    negotiation = Negotiation(rng=random.Random(1))
    try:
        negotiation.set_remote("offer", text)
    except InvalidDescriptionError:
        return None
    answer = negotiation.create_answer(OURS)
    return negotiation.set_local("answer", answer, OURS), answer


def take_answer(text):
    negotiation = Negotiation(rng=random.Random(1))
    negotiation.request_data()
    negotiation.set_local("offer", negotiation.create_offer(OURS), OURS)
    try:
        return negotiation.set_remote("answer", text)
    except InvalidDescriptionError:
        return None


def test_every_file_is_a_description_or_breaks_the_grammar(descriptions):
    for name, text in descriptions:
        check_is_frugal(name, lambda: None, lambda _, text=text: read(text))


def test_every_file_can_be_set_or_is_refused(descriptions):
    for name, text in descriptions:
        check_is_frugal(name, lambda: None, lambda _, text=text: take_offer(text))
        check_is_frugal(name, lambda: None, lambda _, text=text: take_answer(text))


def test_every_description_is_parsed_and_comes_back_the_same(descriptions):
    for name, text in descriptions:
        session = read(mended(text))
        assert (session is None) == (name in NO_DESCRIPTIONS), name
        if session is not None:
            assert parse(to_text(session)) == session, name


def test_every_offer_of_data_is_answered_with_data(descriptions):
    accepted = set()
    for name, text in descriptions:
        if "answer" in name or (answered := take_offer(mended(text))) is None:
            continue
        applied, answer = answered
        sections = parse(answer).media
        assert [section.kind for section in sections] == [section.kind for section in parse(mended(text)).media], name
        assert sum(section.port != 0 for section in sections) == applied.data_negotiated, name
        if applied.data_negotiated:
            accepted.add(name)
    assert accepted == {
        "chromium-offer.sdp",
        "chromium-aiortc-dc-offer.sdp",
        "firefox-offer.sdp",
        "firefox-aiortc-dc-offer.sdp",
        "04-sdp.sdp",
        "05-sdp.sdp",
        "06-sdp.sdp",
        "07-sdp.sdp",
        "12.sdp",
        "13.sdp",
        "hacky.sdp",
        "sctp-dtls-26.sdp",
        "firefox-1.sdp",
        "firefox-2.sdp",
        "opera-1.sdp",
        "opera-2.sdp",
    }


def test_the_answers_of_aiortc_to_an_offer_of_data_are_taken(corpora):
    answers = {name: text for name, text in texts_of(corpora / "browser-sdp") if name.endswith("dc-answer.sdp")}
    assert len(answers) == 2
    for name, text in answers.items():
        applied = take_answer(text)
        assert applied is not None, name
        assert applied.data_negotiated, name
        assert applied.remote.fingerprints, name
