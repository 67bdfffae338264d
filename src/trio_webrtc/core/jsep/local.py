"""A description that we made."""

from collections.abc import Sequence
from dataclasses import dataclass

from trio_webrtc.core.jsep.composing import with_candidates, without_candidates
from trio_webrtc.core.jsep.layout import Layout, Section
from trio_webrtc.core.jsep.reading import Setup
from trio_webrtc.core.jsep.transports import Kind, LocalTransport
from trio_webrtc.core.sdp import Session, parse, to_text
from trio_webrtc.errors import InvalidDescriptionError, UsageError


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
            raise UsageError(f"the description is another one than create_{self.kind}() returned last")
