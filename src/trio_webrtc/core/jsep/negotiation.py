"""Offer and answer (RFC 9429): what is proposed, what is agreed, and what follows from it for the transport.

`create_offer` and `create_answer` make a description, `set_local` and `set_remote` propose or agree to one. Each of the
latter returns what is then in force. Errors leave everything as it was.
"""

import enum
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from trio_webrtc.core.jsep.agreement import Agreement
from trio_webrtc.core.jsep.applied import Applied, InForce
from trio_webrtc.core.jsep.author import Author
from trio_webrtc.core.jsep.candidates import RemoteCandidate
from trio_webrtc.core.jsep.local import LocalDescription
from trio_webrtc.core.jsep.matching import check_answer, check_identity, check_offer, check_role
from trio_webrtc.core.jsep.remote import RemoteDescription, read_remote
from trio_webrtc.core.jsep.states import (
    Closed,
    HaveLocalOffer,
    HaveLocalPranswer,
    HaveRemoteOffer,
    HaveRemotePranswer,
    SignalingState,
    Stable,
    State,
)
from trio_webrtc.core.jsep.transports import Kind, LocalTransport
from trio_webrtc.errors import UsageError


class Which(enum.Enum):
    """The four descriptions that W3C's connection has."""

    CURRENT_LOCAL = "current-local"
    PENDING_LOCAL = "pending-local"
    CURRENT_REMOTE = "current-remote"
    PENDING_REMOTE = "pending-remote"


class Negotiation:
    """One side of offer and answer."""

    def __init__(self, *, rng: random.Random) -> None:
        self._author = Author(rng=rng)
        self._state: State = Stable()
        self._agreed: Agreement | None = None
        self._last_made: LocalDescription | None = None
        self._data_requested = False
        self._keeps_identity = False
        self._ufrag_to_replace: str | None = None

    @property
    def signaling_state(self) -> SignalingState:
        """Where offer and answer stand."""
        return self._state.name

    @property
    def negotiation_needed(self) -> bool:
        """Whether an offer should be made (W3C §4.7.3): data was asked for and never offered, or ICE is to restart."""
        if not isinstance(self._state, Stable):
            return False
        local = None if self._agreed is None else self._agreed.local
        if local is None:
            return self._data_requested
        # Asked after every datagram: by far the most often, neither is wanted.
        lacks_data = self._data_requested and not any(section.is_data for section in local.layout.sections)
        return lacks_data or local.transport.ufrag == self._ufrag_to_replace

    def request_data(self) -> None:
        """The application has made its first data channel: offers have a data section from now on."""
        self._data_requested = True

    def request_restart(self) -> None:
        """New ICE credentials are to be agreed on; needed until a description with others than now is."""
        local = self._in_force().local
        if local is not None and local.data is not None:
            self._ufrag_to_replace = local.transport.ufrag

    def keep_identity(self) -> None:
        """A DTLS association is up: what of the peer's would need another one is refused from now on."""
        self._keeps_identity = True

    def create_offer(self, transport: LocalTransport) -> str:
        """Make an offer: the sections there are, in their order, and data if it was asked for.

        Raises:
            UsageError: an offer of the peer's waits for an answer, or the connection is closed.
        """
        return self._make_offer(transport).text(transport.candidates, ended=transport.end_of_candidates)

    def create_answer(self, transport: LocalTransport) -> str:
        """Make an answer to the peer's offer: yes to data, no to the rest.

        Raises:
            UsageError: there is no offer to answer.
        """
        return self._make_answer(transport).text(transport.candidates, ended=transport.end_of_candidates)

    def set_local(self, type: str | None, sdp: str | None, transport: LocalTransport) -> Applied:
        """Propose, or agree to, what this side has made; with no type or text, what is fitting (RFC 9429 §4.1.11).

        `transport` is used if something has to be made first; which one is in force, the result says.

        Raises:
            UsageError: it does not fit the state, or is not what was made here last.
        """
        before = self._in_force()
        match type or self._fitting_type():
            case "rollback":
                return self._roll_back(before)
            case "offer":
                return self._set_local_offer(sdp, transport, before)
            case "answer" | "pranswer" as kind:
                return self._set_local_answer(kind, sdp, transport, before)
            case other:
                _refuse_type(other)

    def set_remote(self, type: str, sdp: str) -> Applied:
        """Take what the peer proposes or agrees to. Its offer wins over one of ours that is pending.

        Raises:
            InvalidDescriptionError: the text breaks the grammar, or does not fit what went before.
            UsageError: it does not fit the state.
        """
        before = self._in_force()
        match type:
            case "rollback":
                return self._roll_back(before)
            case "offer":
                return self._set_remote_offer(sdp, before)
            case "answer" | "pranswer":
                return self._set_remote_answer(type, sdp, before)
            case other:
                _refuse_type(other)

    def describe(
        self, which: Which, candidates: Sequence[str] = (), end_of_candidates: bool = False
    ) -> tuple[Kind, str] | None:
        """One of the four descriptions, or None. Local ones are written with the candidates given."""
        if which in {Which.CURRENT_LOCAL, Which.PENDING_LOCAL}:
            local = self._current_local() if which is Which.CURRENT_LOCAL else self._pending_local()
            return None if local is None else (local.kind, local.text(candidates, ended=end_of_candidates))
        remote = self._current_remote() if which is Which.CURRENT_REMOTE else self._pending_remote()
        return None if remote is None else (remote.kind, remote.text())

    def parse_candidate(
        self, mid: str | None, index: int | None, line: str | None, ufrag: str | None
    ) -> RemoteCandidate:
        """Find out whether a candidate that signalling brought is for our transport and its present generation.

        `line` None or empty says that no more follow. What is for another section or generation is to be ignored.

        Raises:
            InvalidDescriptionError: it is no candidate line at all.
            UsageError: there is no remote description yet, or no section like the one named.
        """
        remote = self._in_force().remote
        if remote is None or isinstance(self._state, Closed):
            raise UsageError("a candidate makes sense only once there is a remote description")
        line = (line or "").strip().removeprefix("a=")
        if line and mid is None and index is None:
            raise UsageError("a candidate needs sdp_mid or sdp_m_line_index")
        return remote.take_candidate(mid, index, line, ufrag)

    def local_candidate_init(self, line: str) -> tuple[str, str | None, int, str]:
        """What signalling needs beside one of our candidate lines: its mid, its section's index, its ufrag.

        Raises:
            UsageError: no local description with a data section has been set.
        """
        local = self._in_force().local
        if local is None or local.data is None:
            raise UsageError("there is no local description with a section that this candidate could be for")
        return line, local.data.mid, local.data.index, local.transport.ufrag

    def close(self) -> None:
        """Negotiate nothing more."""
        self._state = Closed()

    def _fitting_type(self) -> Kind:
        return "answer" if isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer) else "offer"

    def _make_offer(self, transport: LocalTransport) -> LocalDescription:
        if not isinstance(self._state, Stable | HaveLocalOffer):
            self._refuse("make an offer")
        self._last_made = self._author.make_offer(self._agreed, transport, data=self._data_requested)
        return self._last_made

    def _make_answer(self, transport: LocalTransport) -> LocalDescription:
        if not isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer):
            self._refuse("make an answer")
        self._last_made = self._author.make_answer(self._state.remote, self._agreed, transport)
        return self._last_made

    def _set_local_offer(self, sdp: str | None, transport: LocalTransport, before: InForce) -> Applied:
        if not isinstance(self._state, Stable | HaveLocalOffer):
            self._refuse("set an offer of our own")
        self._state = HaveLocalOffer(self._made("offer", sdp) if sdp else self._make_offer(transport))
        return self._applied(before)

    def _set_local_answer(self, kind: Kind, sdp: str | None, transport: LocalTransport, before: InForce) -> Applied:
        if not isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer):
            self._refuse("set an answer of our own")
        remote = self._state.remote
        local = self._made("answer", sdp) if sdp else self._make_answer(transport)
        if kind == "answer":
            self._agree(local, remote)
        else:
            self._state = HaveLocalPranswer(remote, replace(local, kind=kind))
        return self._applied(before)

    def _set_remote_offer(self, sdp: str, before: InForce) -> Applied:
        if not isinstance(self._state, Stable | HaveLocalOffer | HaveRemoteOffer):
            self._refuse("set an offer of the peer's")
        offer = read_remote("offer", sdp)
        if self._agreed is not None:
            check_offer(self._agreed, offer)
        self._check_association(before, offer)
        gives_way = isinstance(self._state, HaveLocalOffer)
        self._state = HaveRemoteOffer(offer)
        self._last_made = None
        return self._applied(before, rolled_back=gives_way)

    def _check_association(self, before: InForce, remote: RemoteDescription) -> None:
        """A DTLS association that is up stays as it is. Until then an answer may be lost, and another be given."""
        if self._keeps_identity:
            check_identity(before.remote_transport, remote)
            if self._agreed is not None:
                check_role(self._agreed, remote)

    def _set_remote_answer(self, kind: Kind, sdp: str, before: InForce) -> Applied:
        if not isinstance(self._state, HaveLocalOffer | HaveRemotePranswer):
            self._refuse("set an answer of the peer's")
        local, remote = self._state.local, read_remote(kind, sdp)
        check_answer(local.layout, remote.layout)
        self._check_association(before, remote)
        if kind == "answer":
            self._agree(local, remote)
        else:
            self._state = HaveRemotePranswer(local, remote)
        return self._applied(before)

    def _roll_back(self, before: InForce) -> Applied:
        # RFC 9429 §4.1.10.2: what has been answered, if only provisionally, cannot be taken back.
        if not isinstance(self._state, HaveLocalOffer | HaveRemoteOffer):
            self._refuse("roll back")
        self._state = Stable()
        self._last_made = None
        return self._applied(before, rolled_back=True)

    def _made(self, kind: Kind, sdp: str) -> LocalDescription:
        """What was made last, which is what `sdp` has to be."""
        made = self._last_made
        if made is None or made.kind != kind:
            raise UsageError(f"no {kind} of ours is waiting to be set: create_{kind}() has not made any")
        made.check_is(sdp)
        return made

    def _agree(self, local: LocalDescription, remote: RemoteDescription) -> None:
        self._agreed = Agreement(local, remote)
        self._state = Stable()
        self._last_made = None

    def _in_force(self) -> InForce:
        local = self._pending_local() or self._current_local()
        remote = self._pending_remote() or self._current_remote()
        match self._state:
            case HaveLocalPranswer() | HaveRemotePranswer() as state:
                role = Agreement(state.local, state.remote).role
            case _:
                role = None if self._agreed is None else self._agreed.role
        return InForce(local, remote, role)

    def _applied(self, before: InForce, *, rolled_back: bool = False) -> Applied:
        return self._in_force().since(before, self.signaling_state, rolled_back=rolled_back)

    def _current_local(self) -> LocalDescription | None:
        return None if self._agreed is None else self._agreed.local

    def _current_remote(self) -> RemoteDescription | None:
        return None if self._agreed is None else self._agreed.remote

    def _pending_local(self) -> LocalDescription | None:
        match self._state:
            case HaveLocalOffer() | HaveRemotePranswer() | HaveLocalPranswer():
                return self._state.local
            case Stable() | HaveRemoteOffer() | Closed():
                return None

    def _pending_remote(self) -> RemoteDescription | None:
        match self._state:
            case HaveRemoteOffer() | HaveRemotePranswer() | HaveLocalPranswer():
                return self._state.remote
            case Stable() | HaveLocalOffer() | Closed():
                return None

    def _refuse(self, action: str) -> NoReturn:
        raise UsageError(f"cannot {action} while the signaling state is {self.signaling_state.value!r}")


def _refuse_type(type: str) -> NoReturn:
    raise UsageError(f"a description is an offer, an answer, a pranswer or a rollback, not {type!r}")
