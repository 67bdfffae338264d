"""A description that the peer sent, and what it has sent behind it."""

from dataclasses import dataclass, field, replace

from trio_webrtc.core.jsep.candidates import IGNORED, CandidateFate, RemoteCandidate, ufrag_of
from trio_webrtc.core.jsep.layout import Layout, Section, read_layout
from trio_webrtc.core.jsep.reading import Setup, carrier_of, read_ice_options, read_setup, read_transport
from trio_webrtc.core.jsep.transports import Kind, RemoteTransport
from trio_webrtc.core.sdp import Attribute, Session, parse, to_text
from trio_webrtc.errors import InvalidDescriptionError, UsageError

MAX_TRICKLED_CANDIDATES = 256
"""How many candidates the peer may send after its description; more are ignored."""


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
    ice_options: frozenset[str]
    trickled: list[str] = field(default_factory=list)
    ended: bool = False

    @property
    def data(self) -> Section | None:
        """The section that data channels go through."""
        return self.layout.data

    @property
    def transport_so_far(self) -> RemoteTransport | None:
        """The transport, with the candidates that have trickled in since."""
        if self.transport is None or not (self.trickled or self.ended):
            return self.transport
        candidates = (*self.transport.candidates, *self.trickled)
        return replace(
            self.transport, candidates=candidates, end_of_candidates=self.ended or self.transport.end_of_candidates
        )

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

    def take_candidate(self, mid: str | None, index: int | None, line: str, ufrag: str | None) -> RemoteCandidate:
        """Find out whether a candidate is for this description's transport, and keep it if it is.

        Raises:
            InvalidDescriptionError: it is no candidate line at all.
            UsageError: there is no section like the one named.
        """
        if line and not (line.startswith("candidate:") and line.isprintable()):
            raise InvalidDescriptionError(f"expected a candidate such as 'candidate:1 1 udp ...', found {line[:60]!r}")
        generation = ufrag or ufrag_of(line)
        if not self._is_for_data(mid, index) or self.transport is None:
            return IGNORED
        if generation is not None and generation != self.transport.ufrag:
            return IGNORED
        if not line:
            self.ended = True
            return RemoteCandidate(CandidateFate.END)
        if len(self.trickled) >= MAX_TRICKLED_CANDIDATES:
            return IGNORED
        self.trickled.append(line)
        return RemoteCandidate(CandidateFate.ADD, line)

    def _is_for_data(self, mid: str | None, index: int | None) -> bool:
        section = self._section(mid, index)
        return section is None or (
            self.data is not None and section.index in {self.data.index, carrier_of(self.layout, self.data).index}
        )

    def _section(self, mid: str | None, index: int | None) -> Section | None:
        """The section named, by its mid rather than by its index (W3C §4.4.2); None if neither is given."""
        if mid is not None:
            if (section := self.layout.by_mid(mid)) is None:
                raise UsageError(f"no section of the remote description has the mid {mid!r}")
            return section
        if index is None:
            return None
        if not 0 <= index < len(self.layout.sections):
            raise UsageError(f"the remote description has no section {index}, only {len(self.layout.sections)}")
        return self.layout.sections[index]


def read_remote(kind: Kind, text: str) -> RemoteDescription:
    """Understand what the peer sent.

    Raises:
        InvalidDescriptionError: it breaks the grammar, or says too little or nonsense of its data section.
    """
    session = parse(text)
    layout = read_layout(session)
    data = layout.data
    if data is None:
        return RemoteDescription(kind, text, session, layout, None, "actpass", None, frozenset())
    # Both have to be there (RFC 8842 §5.1); where they are not, RFC 4145 §4 has "active" for an answer, and an offer
    # whose maker does not care is best served by a choice.
    absent: Setup = "actpass" if kind == "offer" else "active"
    setup, setup_line = read_setup(session, layout, data, absent=absent)
    if kind != "offer" and setup == "actpass":
        raise InvalidDescriptionError("expected an answer to choose active or passive (RFC 8842 §5.3)", line=setup_line)
    transport = read_transport(session, layout, data)
    options = read_ice_options(session, layout, data)
    return RemoteDescription(kind, text, session, layout, transport, setup, setup_line, options)
