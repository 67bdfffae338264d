"""Text to model: what is understood, what is put up with, and how what is broken is named."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.sdp import (
    MAX_DESCRIPTION_LENGTH,
    Attribute,
    Connection,
    Line,
    Media,
    Origin,
    parse,
    to_text,
)
from trio_webrtc.errors import InvalidDescriptionError

# After RFC 8866 §5, with a line of a type that no RFC knows.
FULL = """\
v=0
o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
s=Call to John Smith
i=SDP Offer #1
u=http://www.jdoe.example.com/home.html
e=Jane Doe <jane@jdoe.example.com>
p=+1 617 555-6011
c=IN IP4 198.51.100.1
b=AS:128
t=0 0
r=7d 1h 0 25h
q=who knows
a=recvonly
m=audio 49170 RTP/AVP 0
m=video 51372/2 RTP/AVP 99 100
i=a camera
c=IN IP6 2001:db8::2
b=AS:64
a=rtpmap:99 h263-1998/90000
a=empty:
"""


def crlf(text):
    return text.replace("\n", "\r\n")


def test_every_kind_of_line_ends_up_in_its_place():
    session = parse(crlf(FULL))
    assert session.origin == Origin("jdoe", 3724394400, 3724394405, "IN", "IP4", "198.51.100.1")
    assert session.name == "Call to John Smith"
    assert session.connection == Connection("IN", "IP4", "198.51.100.1")
    assert [line.type for line in session.lines] == ["i", "u", "e", "p", "b", "t", "r", "q"]
    assert session.attributes == (Attribute("recvonly"),)
    audio, video = session.media
    assert audio == Media(kind="audio", port=49170, protocol="RTP/AVP", formats=("0",))
    assert video.port_count == 2
    assert video.formats == ("99", "100")
    assert video.connection == Connection("IN", "IP6", "2001:db8::2")
    assert video.lines == (Line("i", "a camera"), Line("b", "AS:64"))
    assert video.attributes == (Attribute("rtpmap", "99 h263-1998/90000"), Attribute("empty", ""))


def test_parts_know_the_line_they_came_from():
    session = parse(FULL)
    assert session.find("recvonly").line == 13
    assert [media.line for media in session.media] == [14, 15]
    assert session.media[1].find("rtpmap").line == 19


def test_text_in_the_order_of_the_grammar_is_written_back_as_it_was():
    assert to_text(parse(crlf(FULL))) == crlf(FULL)


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        crlf(FULL) + "\r\n\r\n",
        FULL.rstrip("\n"),
        FULL.replace("m=audio 49170 RTP", "m=audio  49170 RTP"),
    ],
    ids=["bare LF", "empty lines at the end", "no end of line at the end", "two spaces"],
)
def test_what_products_get_wrong_is_put_up_with(text):
    assert parse(text) == parse(crlf(FULL))


def test_missing_name_and_time_are_filled_in():
    session = parse("v=0\no=- 1 1 IN IP4 0.0.0.0\na=x\n")
    assert session.name == "-"
    assert session.lines == (Line("t", "0 0"),)


def test_lines_of_a_session_may_stand_in_another_order():
    assert parse("v=0\nt=0 0\na=x\nb=AS:1\ns=-\no=- 1 1 IN IP4 0.0.0.0\n") == parse(
        "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nb=AS:1\nt=0 0\na=x\n"
    )


@pytest.mark.parametrize(
    ("broken", "line", "expected"),
    [
        ("", 1, "a letter"),
        ("v=1\n", 1, "begin with v=0"),
        ("m=audio 9 RTP/AVP 0\n", 1, "begin with v=0"),
        (FULL.replace("i=a camera", "i a camera"), 16, "equals sign"),
        (FULL.replace("i=a camera", ""), 16, "equals sign"),
        (FULL.replace("i=a camera", "1=a camera"), 16, "a letter"),
        (FULL.replace("i=a camera", "i=a\0camera"), 16, "no NUL"),
        (FULL.replace("i=a camera", "i=a\rcamera"), 16, "carriage return"),
        (FULL.replace("IN IP4 198.51.100.1\ns", "IN IP4\ns"), 2, "o=<username>"),
        (FULL.replace("3724394400", "37x"), 2, "session id"),
        (FULL.replace("s=", "v=0\ns="), 3, "one v= line"),
        (FULL.replace("i=SDP", "s=again\ni=SDP"), 4, "one s= line"),
        (FULL.replace("e=Jane", "o=- 1 1 IN IP4 0.0.0.0\ne=Jane"), 6, "one o= line"),
        (FULL.replace("b=AS:128", "c=IN IP4 0.0.0.0"), 9, "one c= line"),
        (FULL.replace("c=IN IP6 2001:db8::2", "c=IN IP6"), 17, "c=<network>"),
        (FULL.replace("t=0 0", "t=0"), 10, "t=<start>"),
        (FULL.replace("t=0 0", "t=0 soon"), 10, "digits"),
        (FULL.replace("i=a camera", "s=a camera"), 16, "before the first media section"),
        (FULL.replace("RTP/AVP 0", "RTP/AVP"), 14, "m=<media>"),
        (FULL.replace("49170", "65536"), 14, "a port"),
        (FULL.replace("49170", "-1"), 14, "a port"),
        (FULL.replace("49170", "४"), 14, "a port"),
        (FULL.replace("51372/2", "51372/"), 15, "a port"),
        (FULL.replace("RTP/AVP 0", "RTP,AVP 0"), 14, "transport protocol"),
        (FULL.replace("RTP/AVP 0", "RTP/AVP (0)"), 14, "media type and formats"),
        (FULL.replace("a=recvonly", "a=recv only"), 13, "attribute's name"),
        (FULL.replace("a=recvonly", "a=:x"), 13, "attribute's name"),
    ],
)
def test_errors_name_the_line_and_what_was_expected(broken, line, expected):
    with pytest.raises(InvalidDescriptionError, match=expected) as raised:
        parse(broken)
    assert raised.value.line == line
    assert str(raised.value).startswith(f"line {line}: expected")


def test_a_description_without_origin_is_refused():
    with pytest.raises(InvalidDescriptionError, match="o= line"):
        parse("v=0\ns=-\nt=0 0\n")


def test_an_endless_description_is_not_looked_at():
    with pytest.raises(InvalidDescriptionError, match="characters"):
        parse("v=0\n" * MAX_DESCRIPTION_LENGTH)


def test_what_an_error_quotes_is_cut_short():
    with pytest.raises(InvalidDescriptionError) as raised:
        parse("v" * 10_000)
    assert len(str(raised.value)) < 200


def read_or_refuse(text):
    """Anything but InvalidDescriptionError fails the test."""
    try:
        session = parse(text)
    except InvalidDescriptionError:
        return None
    assert parse(to_text(session)) == session
    return session


@given(st.text())
def test_arbitrary_text_is_read_or_refused(text):
    read_or_refuse(text)


@given(st.lists(st.tuples(st.sampled_from("vosiuepcbtrzkamx1"), st.text(max_size=30)), max_size=20))
def test_arbitrary_lines_are_read_or_refused(lines):
    read_or_refuse("v=0\no=- 1 1 IN IP4 0.0.0.0\n" + "\n".join(f"{type_}={value}" for type_, value in lines))


@given(st.data())
def test_mutated_descriptions_are_read_or_refused(data):
    text = FULL
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 10)))
        text = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    read_or_refuse(text)


def corpus(corpora):
    for folder in ("browser-sdp", "mozilla-sdp", "sdp-transform", "jsep-rfc9429", "libwebrtc-fuzz/sdp-corpus"):
        for file in sorted((corpora / folder).iterdir()):
            if file.name != "README":
                yield file, file.read_bytes().decode(errors="surrogateescape")


def test_descriptions_of_other_projects_are_read_or_refused(corpora):
    read = [file for file, text in corpus(corpora) if read_or_refuse(text)]
    # The rest has comment lines of the test tool it was made for, or is cut off in front.
    assert len(read) >= 150


def test_no_description_of_other_projects_takes_long(corpora):
    for file, text in corpus(corpora):
        start = time.perf_counter()
        read_or_refuse(text)
        assert time.perf_counter() - start < 0.05, file


def test_browsers_descriptions_are_written_back_as_they_were(corpora):
    for file in (corpora / "browser-sdp").glob("*.sdp"):
        text = file.read_bytes().decode()
        assert to_text(parse(text)).splitlines() == text.splitlines(), file
