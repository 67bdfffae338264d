"""A description that has been understood: ours, or the peer's."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from trio_webrtc.core.jsep.composing import with_candidates, without_candidates
from trio_webrtc.core.jsep.layout import Layout, Section, read_layout
from trio_webrtc.core.jsep.reading import Setup, read_setup, read_transport
from trio_webrtc.core.jsep.transports import LocalTransport, RemoteTransport
from trio_webrtc.core.sdp import Attribute, Session, parse, to_text
from trio_webrtc.errors import InvalidDescriptionError, UsageError

Kind: TypeAlias = Literal["offer", "answer", "pranswer"]

MAX_TRICKLED_CANDIDATES = 256
"""How many candidates the peer may send after its description; more are ignored."""


@dataclass(frozen=True, slots=True)
class LocalDescription:
    """One that we made; candidates are put in when it is written."""

    kind: Kind
    session: Session
    layout: Layout
    transport: LocalTransport
    setup: Setup

    @property
    def data(self) -> Section | None:
        """The section that data channels go through."""
        return self.layout.data

    def text(self, candidates: Sequence[str], *, ended: bool) -> str:
        """Write it with what has been gathered."""
        index = None if self.data is None else self.data.index
        return to_text(with_candidates(self.session, index, candidates, ended=ended))

    def check_is(self, text: str) -> None:
        """Make sure that `text` is this description, whatever had been gathered when it was written.

        Raises:
            UsageError: it is something else; what we announce is decided by `create_offer` and `create_answer`.
        """
        try:
            session = parse(text)
        except InvalidDescriptionError as error:
            raise UsageError(f"this is no {self.kind} that was made here: {error}") from error
        if without_candidates(session, None if self.data is None else self.data.index) != self.session:
            raise UsageError(f"the description is another one than create_{self.verb} returned last")

    @property
    def verb(self) -> str:
        """What made it: "offer", or "answer" for provisional ones too."""
        return "offer" if self.kind == "offer" else "answer"


@dataclass(slots=True)
class RemoteDescription:
    """One that the peer sent, with the candidates that trickled in behind it."""

    kind: Kind
    original: str
    session: Session
    layout: Layout
    transport: RemoteTransport | None
    """None if it has no data section, or has it rejected."""
    setup: Setup
    setup_line: int | None
    trickled: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def data(self) -> Section | None:
        """The section that data channels go through."""
        return self.layout.data

    def text(self) -> str:
        """As it came, and with what has trickled in since."""
        if self.data is None or not (self.trickled or self.ended):
            return self.original
        media = list(self.session.media)
        lines = [Attribute("candidate", line.removeprefix("candidate:")) for line in self.trickled]
        if self.ended:
            lines.append(Attribute("end-of-candidates"))
        section = media[self.data.index]
        media[self.data.index] = replace(section, attributes=(*section.attributes, *lines))
        return to_text(replace(self.session, media=tuple(media)))


def read_remote(kind: Kind, text: str) -> RemoteDescription:
    """Understand what the peer sent.

    Raises:
        InvalidDescriptionError: it breaks the grammar, or says too little or nonsense of its data section.
    """
    session = parse(text)
    layout = read_layout(session)
    data = layout.data
    if data is None:
        return RemoteDescription(kind, text, session, layout, None, "actpass", None)
    # Both have to be there (RFC 8842 §5.1); where they are not, RFC 4145 §4 has "active" for an answer, and an offer
    # whose maker does not care is best served by a choice.
    absent: Setup = "actpass" if kind == "offer" else "active"
    setup, setup_line = read_setup(session, layout, data, absent=absent)
    if kind != "offer" and setup == "actpass":
        raise InvalidDescriptionError("expected an answer to choose active or passive (RFC 8842 §5.3)", line=setup_line)
    transport = read_transport(session, layout, data)
    return RemoteDescription(kind, text, session, layout, transport, setup, setup_line)
