"""From the model to text (RFC 8866 §5): lines in the order of the grammar, each ended by CRLF."""

from collections.abc import Iterable, Iterator

from trio_webrtc.core.sdp.model import Connection, Line, Media, Session

_BEFORE_CONNECTION = frozenset("iuep")


def to_text(session: Session) -> str:
    """Write a description; `parse` gives the same model back."""
    return "".join(f"{line}\r\n" for line in _session_lines(session))


def _session_lines(session: Session) -> Iterator[str]:
    yield "v=0"
    yield f"o={session.origin}"
    yield f"s={session.name}"
    yield from _lines_around_connection(session.lines, session.connection)
    yield from (f"a={attribute}" for attribute in session.attributes)
    for media in session.media:
        yield from _media_lines(media)


def _media_lines(media: Media) -> Iterator[str]:
    port = f"{media.port}" if media.port_count is None else f"{media.port}/{media.port_count}"
    yield f"m={media.kind} {port} {media.protocol} {' '.join(media.formats)}"
    yield from _lines_around_connection(media.lines, media.connection)
    yield from (f"a={attribute}" for attribute in media.attributes)


def _lines_around_connection(lines: Iterable[Line], connection: Connection | None) -> Iterator[str]:
    yield from (f"{line.type}={line.value}" for line in lines if line.type in _BEFORE_CONNECTION)
    if connection is not None:
        yield f"c={connection}"
    yield from (f"{line.type}={line.value}" for line in lines if line.type not in _BEFORE_CONNECTION)
