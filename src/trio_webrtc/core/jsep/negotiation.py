"""Offer and answer (RFC 9429): what is proposed, what is agreed, and what follows from it for the transport.

`create_offer` and `create_answer` make a description, `set_local` and `set_remote` propose or agree to one. Each of the
latter returns what is then in force. Errors leave everything as it was.
"""

import enum
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from trio_webrtc.core.jsep.candidates import CandidateFate, RemoteCandidate, ufrag_of
from trio_webrtc.core.jsep.composing import PlannedSection, compose, new_data_section
from trio_webrtc.core.jsep.descriptions import (
    MAX_TRICKLED_CANDIDATES,
    Kind,
    LocalDescription,
    RemoteDescription,
    read_remote,
)
from trio_webrtc.core.jsep.layout import Layout, Section, read_layout
from trio_webrtc.core.jsep.matching import check_answer, check_offer, check_role, role_between
from trio_webrtc.core.jsep.reading import Setup, carrier_of
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
from trio_webrtc.core.jsep.transports import DtlsRole, LocalTransport, RemoteTransport
from trio_webrtc.core.sdp import Origin, Session
from trio_webrtc.errors import UsageError


class Which(enum.Enum):
    """The four descriptions that W3C's connection has."""

    CURRENT_LOCAL = "current-local"
    PENDING_LOCAL = "pending-local"
    CURRENT_REMOTE = "current-remote"
    PENDING_REMOTE = "pending-remote"


@dataclass(frozen=True, slots=True)
class Agreement:
    """An offer and its answer."""

    local: LocalDescription
    remote: RemoteDescription

    @property
    def offer(self) -> Layout:
        """How the offer was laid out."""
        return self.local.layout if self.local.kind == "offer" else self.remote.layout

    @property
    def answer(self) -> Layout:
        """How the answer was laid out."""
        return self.remote.layout if self.local.kind == "offer" else self.local.layout

    @property
    def sections(self) -> Iterator[tuple[Section, bool]]:
        """The sections as they were offered, and whether they were accepted."""
        for offered, answered in zip(self.offer.sections, self.answer.sections, strict=True):
            yield offered, not answered.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What is in force after a description was set: the pending one, else what was agreed before."""

    signaling_state: SignalingState
    local: LocalTransport | None
    """Our end as we have announced it."""
    remote: RemoteTransport | None
    """The peer's end; None while it has not said, or has no data section."""
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


class Negotiation:
    """One side of offer and answer."""

    def __init__(self, *, rng: random.Random) -> None:
        # RFC 9429 §5.2.1: 64 bits of which the first is zero, so that it fits a signed integer anywhere.
        self._session_id = rng.getrandbits(63)
        self._state: State = Stable()
        self._agreed: Agreement | None = None
        self._last_made: LocalDescription | None = None
        self._last_session: Session | None = None
        self._data_requested = False
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
        has_data = local is not None and any(section.is_data for section in local.layout.sections)
        return (self._data_requested and not has_data) or self._is_restart_outstanding()

    def request_data(self) -> None:
        """The application has made its first data channel: offers have a data section from now on."""
        self._data_requested = True

    def request_restart(self) -> None:
        """New ICE credentials are to be agreed; needed until a description with others than now is."""
        if self._agreed is not None and self._agreed.local.data is not None:
            self._ufrag_to_replace = self._agreed.local.transport.ufrag

    def close(self) -> None:
        """Negotiate nothing more."""
        self._state = Closed()

    # -- making descriptions

    def create_offer(self, transport: LocalTransport) -> str:
        """Make an offer: the sections there are, in their order, and data if it was asked for (RFC 9429 §5.2).

        Raises:
            UsageError: an offer of the peer's waits for an answer, or the connection is closed.
        """
        return self._make_offer(transport).text(transport.candidates, ended=transport.end_of_candidates)

    def create_answer(self, transport: LocalTransport) -> str:
        """Make an answer to the peer's offer: yes to data, no to the rest (RFC 9429 §5.3).

        Raises:
            UsageError: there is no offer to answer.
        """
        return self._make_answer(transport).text(transport.candidates, ended=transport.end_of_candidates)

    def _make_offer(self, transport: LocalTransport) -> LocalDescription:
        if not isinstance(self._state, Stable | HaveLocalOffer):
            self._refuse("make an offer")
        # RFC 9429 §5.2.2: a section keeps its place, its mid and its protocol as long as the session lasts.
        agreed = () if self._agreed is None else self._agreed.sections
        plan = [_plan(section, accepted=section.is_data and accepted) for section, accepted in agreed]
        if self._data_requested and not any(section.accepted for section in plan):
            self._add_data(plan)
        session = self._compose(plan, transport, setup="actpass", bundled=True)
        return self._remember("offer", session, transport, "actpass")

    def _add_data(self, plan: list[PlannedSection]) -> None:
        # RFC 9429 §5.2.2: a section that was rejected may be used anew, under a new mid.
        taken = {section.mid for section in plan}
        new = new_data_section(next(mid for mid in map(str, range(len(plan) + 1)) if mid not in taken))
        for index, section in enumerate(plan):
            if section.kind == new.kind:
                plan[index] = new
                return
        plan.append(new)

    def _make_answer(self, transport: LocalTransport) -> LocalDescription:
        if not isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer):
            self._refuse("make an answer")
        offer = self._state.remote
        plan = [_plan(section, accepted=section == offer.data) for section in offer.layout.sections]
        bundled = offer.data is not None and bool(offer.layout.bundle_of(offer.data))
        setup = self._choose_setup(offer)
        return self._remember("answer", self._compose(plan, transport, setup=setup, bundled=bundled), transport, setup)

    def _choose_setup(self, offer: RemoteDescription) -> Setup:
        match offer.setup:
            case "active":
                return "passive"
            case "passive":
                return "active"
            case "actpass":
                # RFC 8842 §5.3: active saves a round trip; but what goes on, goes on as it is (§5.5).
                role = None if self._is_identity_new(offer) else self._agreed_role()
                return "passive" if role == "server" else "active"

    def _compose(
        self, plan: Sequence[PlannedSection], transport: LocalTransport, *, setup: Setup, bundled: bool
    ) -> Session:
        before = self._last_session
        version = 1 if before is None else before.origin.session_version
        session = compose(Origin("-", self._session_id, version), plan, transport, setup=setup, bundled=bundled)
        if before is not None and session != before:
            # RFC 3264 §8: a description that differs from the one before counts up by one.
            session = replace(session, origin=replace(session.origin, session_version=version + 1))
        return session

    def _remember(self, kind: Kind, session: Session, transport: LocalTransport, setup: Setup) -> LocalDescription:
        self._last_session = session
        self._last_made = LocalDescription(kind, session, read_layout(session), transport, setup)
        return self._last_made

    # -- setting descriptions

    def set_local(self, type: str | None, sdp: str | None, transport: LocalTransport) -> Applied:
        """Propose, or agree to, what this side has made; with no type or text, make what is fitting (RFC 9429 §4.1.8).

        Raises:
            UsageError: it does not fit the state, or is not what was made here last.
        """
        kind = type or self._fitting_type()
        before = self._in_force()
        match kind:
            case "rollback":
                return self._roll_back(before)
            case "offer":
                return self._set_local_offer(sdp, transport, before)
            case "answer" | "pranswer":
                return self._set_local_answer(kind, sdp, transport, before)
            case _:
                raise UsageError(f"a description is an offer, an answer, a pranswer or a rollback, not {kind!r}")

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
            case _:
                raise UsageError(f"a description is an offer, an answer, a pranswer or a rollback, not {type!r}")

    def _fitting_type(self) -> Kind:
        return "answer" if isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer) else "offer"

    def _set_local_offer(self, sdp: str | None, transport: LocalTransport, before: "_InForce") -> Applied:
        if not isinstance(self._state, Stable | HaveLocalOffer):
            self._refuse("set an offer of our own")
        self._state = HaveLocalOffer(self._own("offer", sdp, transport))
        return self._applied(before)

    def _set_local_answer(self, kind: Kind, sdp: str | None, transport: LocalTransport, before: "_InForce") -> Applied:
        if not isinstance(self._state, HaveRemoteOffer | HaveLocalPranswer):
            self._refuse(f"set {_with_article(kind)} of our own")
        local, remote = replace(self._own("answer", sdp, transport), kind=kind), self._state.remote
        if kind == "answer":
            self._agree(local, remote)
        else:
            self._state = HaveLocalPranswer(remote, local)
        return self._applied(before)

    def _set_remote_offer(self, sdp: str, before: "_InForce") -> Applied:
        if not isinstance(self._state, Stable | HaveLocalOffer | HaveRemoteOffer):
            self._refuse("set an offer of the peer's")
        offer = read_remote("offer", sdp)
        if self._agreed is not None:
            check_offer(self._agreed.sections, offer.layout)
        self._check_role(offer)
        rolled_back = isinstance(self._state, HaveLocalOffer)
        self._state = HaveRemoteOffer(offer)
        return self._applied(before, rolled_back=rolled_back)

    def _set_remote_answer(self, kind: Kind, sdp: str, before: "_InForce") -> Applied:
        if not isinstance(self._state, HaveLocalOffer | HaveRemotePranswer):
            self._refuse(f"set {_with_article(kind)} of the peer's")
        local, remote = self._state.local, read_remote(kind, sdp)
        check_answer(local.layout, remote.layout)
        self._check_role(remote)
        if kind == "answer":
            self._agree(local, remote)
        else:
            self._state = HaveRemotePranswer(local, remote)
        return self._applied(before)

    def _roll_back(self, before: "_InForce") -> Applied:
        # RFC 9429 §4.1.10.2: what has been answered, if only provisionally, cannot be taken back.
        if not isinstance(self._state, HaveLocalOffer | HaveRemoteOffer):
            self._refuse("roll back")
        self._state = Stable()
        self._last_made = None
        return self._applied(before, rolled_back=True)

    def _own(self, verb: Kind, sdp: str | None, transport: LocalTransport) -> LocalDescription:
        made = self._last_made
        if made is not None and made.verb != verb:
            made = None
        if sdp:
            if made is None:
                raise UsageError(f"there is no {verb} of ours that waits to be set")
            made.check_is(sdp)
            return made
        if made is not None and made.transport.ufrag == transport.ufrag:
            return made
        return self._make_offer(transport) if verb == "offer" else self._make_answer(transport)

    def _agree(self, local: LocalDescription, remote: RemoteDescription) -> None:
        self._agreed = Agreement(local, remote)
        self._state = Stable()
        self._last_made = None
        if not self._is_restart_outstanding():
            self._ufrag_to_replace = None

    # -- what is in force

    def _in_force(self) -> "_InForce":
        agreed = self._agreed
        local, remote = (None, None) if agreed is None else (agreed.local, agreed.remote)
        match self._state:
            case HaveLocalOffer(offer):
                return _InForce(offer, remote, self._agreed_role())
            case HaveRemoteOffer(offer):
                return _InForce(local, offer, self._agreed_role())
            case HaveLocalPranswer() | HaveRemotePranswer() as state:
                return _InForce(state.local, state.remote, role_between(state.local, state.remote))
            case Stable() | Closed():
                return _InForce(local, remote, self._agreed_role())

    def _applied(self, before: "_InForce", *, rolled_back: bool = False) -> Applied:
        now = self._in_force()
        local = None if now.local is None or now.local.data is None else now.local.transport
        remote = now.remote_transport
        earlier = before.remote_transport
        return Applied(
            signaling_state=self.signaling_state,
            local=local,
            remote=remote,
            dtls_role=now.role,
            data_negotiated=now.role is not None,
            remote_restarted=remote is not None and earlier is not None and not remote.is_same_generation(earlier),
            remote_identity_changed=(
                remote is not None and earlier is not None and remote.fingerprints != earlier.fingerprints
            ),
            rolled_back=rolled_back,
        )

    def _agreed_role(self) -> DtlsRole | None:
        return None if self._agreed is None else role_between(self._agreed.local, self._agreed.remote)

    def _is_restart_outstanding(self) -> bool:
        return self._agreed is not None and self._agreed.local.transport.ufrag == self._ufrag_to_replace

    def _is_identity_new(self, remote: RemoteDescription) -> bool:
        earlier = None if self._agreed is None else self._agreed.remote.transport
        return earlier is None or remote.transport is None or earlier.fingerprints != remote.transport.fingerprints

    def _check_role(self, remote: RemoteDescription) -> None:
        role = self._agreed_role()
        if role is not None and not self._is_identity_new(remote):
            check_role(role, remote)

    # -- descriptions and candidates as the application sees them

    def describe(
        self, which: Which, candidates: Sequence[str] = (), end_of_candidates: bool = False
    ) -> tuple[Kind, str] | None:
        """One of the four descriptions, or None. Local ones are written with the candidates given."""
        agreed = self._agreed
        match which:
            case Which.CURRENT_LOCAL:
                local = None if agreed is None else agreed.local
                return None if local is None else (local.kind, local.text(candidates, ended=end_of_candidates))
            case Which.PENDING_LOCAL:
                local = self._pending_local()
                return None if local is None else (local.kind, local.text(candidates, ended=end_of_candidates))
            case Which.CURRENT_REMOTE:
                remote = None if agreed is None else agreed.remote
                return None if remote is None else (remote.kind, remote.text())
            case Which.PENDING_REMOTE:
                remote = self._pending_remote()
                return None if remote is None else (remote.kind, remote.text())

    def parse_candidate(
        self, mid: str | None, index: int | None, line: str | None, ufrag: str | None
    ) -> RemoteCandidate:
        """Find out whether a candidate that signalling brought is for our transport and its present generation.

        `line` None or empty says that no more follow. What is for another section or generation is to be ignored.

        Raises:
            UsageError: there is no remote description yet, or no section like the one named.
        """
        remote = self._in_force().remote
        if remote is None or isinstance(self._state, Closed):
            raise UsageError("a candidate makes sense only once there is a remote description")
        if line and mid is None and index is None:
            raise UsageError("a candidate needs sdp_mid or sdp_m_line_index")
        if not self._is_for_data(remote, mid, index):
            return RemoteCandidate(CandidateFate.IGNORE)
        line = (line or "").strip().removeprefix("a=")
        ufrag = ufrag or ufrag_of(line)
        if remote.transport is None or (ufrag is not None and ufrag != remote.transport.ufrag):
            return RemoteCandidate(CandidateFate.IGNORE)
        if not line:
            remote.ended = True
            return RemoteCandidate(CandidateFate.END)
        if len(remote.trickled) >= MAX_TRICKLED_CANDIDATES:
            return RemoteCandidate(CandidateFate.IGNORE)
        remote.trickled.append(line)
        return RemoteCandidate(CandidateFate.ADD, line)

    def _is_for_data(self, remote: RemoteDescription, mid: str | None, index: int | None) -> bool:
        sections = remote.layout.sections
        if mid is not None:
            section = remote.layout.by_mid(mid)
            if section is None:
                raise UsageError(f"no section of the remote description has the mid {mid!r}")
        elif index is not None:
            if not 0 <= index < len(sections):
                raise UsageError(f"the remote description has {len(sections)} sections, and none of index {index}")
            section = sections[index]
        else:
            return True
        data = remote.data
        return data is not None and section in {data, carrier_of(remote.layout, data)}

    def local_candidate_init(self, line: str) -> tuple[str, str | None, int | None, str]:
        """What signalling needs beside one of our candidate lines: its mid, its section's index, its ufrag.

        Raises:
            UsageError: no local description with a data section has been set.
        """
        local = self._in_force().local
        if local is None or local.data is None:
            raise UsageError("there is no local description with a section that this candidate could be for")
        return line, local.data.mid, local.data.index, local.transport.ufrag

    def _pending_local(self) -> LocalDescription | None:
        match self._state:
            case HaveLocalOffer(local) | HaveRemotePranswer(local=local) | HaveLocalPranswer(local=local):
                return local
            case _:
                return None

    def _pending_remote(self) -> RemoteDescription | None:
        match self._state:
            case HaveRemoteOffer(remote) | HaveRemotePranswer(remote=remote) | HaveLocalPranswer(remote=remote):
                return remote
            case _:
                return None

    def _refuse(self, action: str) -> NoReturn:
        raise UsageError(f"cannot {action} while the signaling state is {self.signaling_state.value!r}")


@dataclass(frozen=True, slots=True)
class _InForce:
    local: LocalDescription | None
    remote: RemoteDescription | None
    role: DtlsRole | None

    @property
    def remote_transport(self) -> RemoteTransport | None:
        return None if self.remote is None else self.remote.transport


def _plan(section: Section, *, accepted: bool) -> PlannedSection:
    media = section.media
    return PlannedSection(media.kind, media.protocol, media.formats[0], section.mid, accepted)


def _with_article(kind: Kind) -> str:
    return "an answer" if kind == "answer" else "a pranswer"
