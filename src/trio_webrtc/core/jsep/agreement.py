"""What both sides have said, and what follows from the two together."""

from collections.abc import Iterator
from dataclasses import dataclass

from trio_webrtc.core.jsep.layout import Layout, Section
from trio_webrtc.core.jsep.local import LocalDescription
from trio_webrtc.core.jsep.remote import RemoteDescription
from trio_webrtc.core.jsep.transports import DtlsRole, RemoteTransport


@dataclass(frozen=True, slots=True)
class Agreement:
    """An offer and its answer, which may be a provisional one."""

    local: LocalDescription
    remote: RemoteDescription

    @property
    def role(self) -> DtlsRole | None:
        """Who this side is in the DTLS handshake, which the answer decides; None if data was not accepted."""
        if self.local.data is None or self.remote.data is None:
            return None
        if self.local.kind == "offer":
            return "server" if self.remote.setup == "active" else "client"
        return "client" if self.local.setup == "active" else "server"

    @property
    def sections(self) -> Iterator[tuple[Section, bool]]:
        """The sections as they were offered, and whether they were accepted."""
        for offered, answered in zip(self._offer.sections, self._answer.sections, strict=True):
            yield offered, not answered.rejected

    def continues_with(self, remote: RemoteTransport | None) -> bool:
        """Whether the DTLS association goes on with what the peer says now (RFC 8842 §5.5)."""
        return self.role is not None and remote is not None and not remote.changes_identity(self.remote.transport)

    @property
    def _offer(self) -> Layout:
        return self.local.layout if self.local.kind == "offer" else self.remote.layout

    @property
    def _answer(self) -> Layout:
        return self.remote.layout if self.local.kind == "offer" else self.local.layout
