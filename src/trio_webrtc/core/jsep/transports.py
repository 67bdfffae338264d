"""What each side tells of its end of the transport."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["offer", "answer", "pranswer"]
"""What a description is; a rollback is none."""

DtlsRole: TypeAlias = Literal["client", "server"]

DEFAULT_SCTP_PORT: Final = 5000
DEFAULT_MAX_MESSAGE_SIZE: Final = 65536
"""What a description means that has no `a=max-message-size` (RFC 8841 §6.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTransport:
    """This side's end, as it is written into the next description.

    Candidates are candidate lines ("candidate:1 1 udp ..."); fingerprints read "sha-256 AB:CD:...".
    """

    ufrag: str
    password: str
    fingerprints: tuple[str, ...]
    lite: bool = False
    candidates: tuple[str, ...] = ()
    end_of_candidates: bool = False
    max_message_size: int = 262144
    sctp_port: int = DEFAULT_SCTP_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTransport:
    """The peer's end, as its description tells it.

    `max_message_size` 0 means that there is no limit. `mid` is that of the data section.
    """

    ufrag: str
    password: str
    lite: bool
    fingerprints: tuple[str, ...]
    candidates: tuple[str, ...]
    end_of_candidates: bool
    trickle: bool
    sctp_port: int
    max_message_size: int
    mid: str | None

    def restarts(self, before: "RemoteTransport | None") -> bool:
        """Whether an ICE restart lies between the two (RFC 8839 §4.4.1.1.1)."""
        return before is not None and (self.ufrag, self.password) != (before.ufrag, before.password)

    def changes_identity(self, before: "RemoteTransport | None") -> bool:
        """Whether they have no certificate in common, so that no DTLS association can go on."""
        return before is not None and set(self.fingerprints).isdisjoint(before.fingerprints)
