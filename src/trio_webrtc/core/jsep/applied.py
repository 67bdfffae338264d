"""What is in force after a description was set, and what has changed by it."""

from dataclasses import dataclass

from trio_webrtc.core.jsep.local import LocalDescription
from trio_webrtc.core.jsep.remote import RemoteDescription
from trio_webrtc.core.jsep.states import SignalingState
from trio_webrtc.core.jsep.transports import DtlsRole, LocalTransport, RemoteTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What is in force after a description was set: the pending one, else what was agreed before."""

    signaling_state: SignalingState
    local: LocalTransport | None
    """Our end as we have announced it."""
    remote: RemoteTransport | None
    """The peer's end, with what has trickled in; None while it has not said, or has no data section."""
    dtls_role: DtlsRole | None
    """Known once there is a (provisional) answer."""
    data_negotiated: bool
    """Whether a (provisional) answer says yes to the data section. False after it was true: it has been taken away."""
    remote_restarted: bool
    """The peer's ICE credentials are others than before this call."""
    remote_identity_changed: bool
    """The peer's fingerprints are others than before this call: it asks for a new DTLS association (RFC 8842 §3)."""
    rolled_back: bool
    """A pending offer was given up, by wish or because the peer's came instead."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The latest description of each side, and the DTLS role of this one."""

    local: LocalDescription | None
    remote: RemoteDescription | None
    role: DtlsRole | None

    @property
    def remote_transport(self) -> RemoteTransport | None:
        """The peer's end, with what has trickled in."""
        return None if self.remote is None else self.remote.transport_so_far

    def since(self, before: "InForce", state: SignalingState, *, rolled_back: bool) -> Applied:
        """Say what is in force now, compared with what was."""
        remote, earlier = self.remote_transport, before.remote_transport
        return Applied(
            signaling_state=state,
            local=None if self.local is None or self.local.data is None else self.local.transport,
            remote=remote,
            dtls_role=self.role,
            data_negotiated=self.role is not None,
            remote_restarted=remote is not None and remote.restarts(earlier),
            remote_identity_changed=remote is not None and remote.changes_identity(earlier),
            rolled_back=rolled_back,
        )
