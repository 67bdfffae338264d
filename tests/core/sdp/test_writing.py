"""Model to text and back."""

from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.sdp import Attribute, Connection, Line, Media, Origin, Session, parse, to_text
from trio_webrtc.core.sdp.model import media_rank, session_rank

text = st.text(st.characters(blacklist_characters="\0\r\n"), max_size=20)
token = st.text("abcxyzABC0189!#$%&'*+-.^_`{|}~", min_size=1, max_size=8)
word = st.text(st.characters(blacklist_characters="\0\r\n "), min_size=1, max_size=8)
number = st.integers(0, 10**20 - 1)

attributes = st.lists(st.builds(Attribute, token, st.none() | text), max_size=5).map(tuple)
connections = st.builds(Connection, word, word, word)
origins = st.builds(Origin, word, number, number, word, word, word)


def lines_of(types, rank):
    return st.lists(st.builds(Line, st.sampled_from(types), text), max_size=4).map(
        lambda lines: tuple(sorted(lines, key=rank))
    )


@st.composite
def media_sections(draw):
    connection = draw(st.none() | connections)
    return Media(
        kind=draw(token),
        port=draw(st.integers(0, 65535)),
        port_count=draw(st.none() | number),
        protocol="/".join(draw(st.lists(token, min_size=1, max_size=3))),
        formats=tuple(draw(st.lists(token, min_size=1, max_size=4))),
        connection=connection,
        lines=draw(lines_of("ibkxX", media_rank)),
        attributes=draw(attributes),
    )


@st.composite
def sessions(draw):
    times = draw(st.lists(st.builds(lambda start, stop: Line("t", f"{start} {stop}"), number, number), min_size=1))
    return Session(
        origin=draw(origins),
        name=draw(text),
        connection=draw(st.none() | connections),
        lines=tuple(sorted([*times, *draw(lines_of("iuepbrzkxX", session_rank))], key=session_rank)),
        attributes=draw(attributes),
        media=tuple(draw(st.lists(media_sections(), max_size=4))),
    )


@given(sessions())
def test_what_is_written_is_read_back_the_same(session):
    assert parse(to_text(session)) == session


def test_every_line_ends_with_cr_and_lf():
    written = to_text(Session(origin=Origin("-", 1, 2), attributes=(Attribute("a", "b"), Attribute("c"))))
    assert written == "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=a:b\r\na=c\r\n"


def test_lines_stand_around_the_connection_in_the_order_of_the_grammar():
    session = Session(
        origin=Origin("-", 1, 2),
        connection=Connection(),
        lines=(Line("i", "what"), Line("b", "AS:1"), Line("t", "0 0")),
    )
    assert [line[0] for line in to_text(session).splitlines()] == list("vosicbt")
