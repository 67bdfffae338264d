"""What signalling brings and wants: one peer's offers, answers and candidates, and what they mean for its ICE agent.

The words are those of `jsep`, the checks those of `ice`. What lies between is here: which credentials the next
description brings, to whom candidates are told and from whom they are taken, what a restart begins and a rollback takes
back (RFC 8445 §9, RFC 8839 §4.4, RFC 9429).
"""

import copy
import random
from collections import deque
from dataclasses import dataclass
from typing import assert_never

from trio_webrtc.core import ice, jsep, mdns
from trio_webrtc.core.ice.addresses import parse_ip
from trio_webrtc.errors import InvalidDescriptionError, UsageError


@dataclass(frozen=True, slots=True)
class GatheringStarted:
    """Candidates of a new generation follow; those before are of no use any more."""


@dataclass(frozen=True, slots=True)
class NegotiationNeeded:
    """An offer should be made."""


@dataclass(frozen=True, slots=True)
class NameFound:
    """The peer has a candidate with a name in the place of its address, which `resolve_name()` wants to know."""

    name: str


SignallingEvent = GatheringStarted | ice.LocalCandidateGathered | ice.GatheringCompleted | NegotiationNeeded | NameFound


class Signalling:
    """One side's part in what is signalled. It tells its ICE agent what it has to know."""

    def __init__(
        self,
        agent: ice.AnyAgent,
        *,
        fingerprints: tuple[str, ...],
        max_message_size: int,
        max_candidates: int,
        rng: random.Random,
    ) -> None:
        self.remote_max_message_size = jsep.DEFAULT_MAX_MESSAGE_SIZE
        self.wants_candidates = False
        """Whether our part of offer and answer has a transport, so that candidates are to be gathered."""
        self._agent = agent
        self._fingerprints = fingerprints
        self._max_message_size = max_message_size
        self._rng = rng
        self._negotiation = jsep.Negotiation(rng=rng)
        self._was_needed = False
        self._events: deque[SignallingEvent] = deque()

        self._next_credentials: ice.Credentials | None = None
        """What our next offer brings, to restart ICE; wanted until an answer agrees to it."""
        self._credentials_to_answer: ice.Credentials | None = None
        """What our answer to the peer's offer has to bring."""
        self._agreed_remote_credentials: ice.Credentials | None = None

        self._gathered: list[ice.LocalCandidateGathered] = []
        self._gathering_is_complete = False
        self._credentials_of_told: ice.Credentials | None = None
        """Those of the generation whose candidates the application is told of; None while there is none to tell."""

        self._early_candidates: deque[tuple[str, str | None, int | None, str | None]] = deque(maxlen=max_candidates)
        self._added_candidates: set[str] = set()
        self._named_candidates: deque[ice.Candidate] = deque(maxlen=mdns.MAX_NAMES)

    def poll_event(self) -> SignallingEvent | None:
        """The next event, or None."""
        self._notice_need()
        return self._events.popleft() if self._events else None

    def request_data(self) -> None:
        """The application has a data channel: offers are to have a section for it."""
        self._negotiation.request_data()

    def keep_identity(self) -> None:
        """The handshake is done: from now on the peer is who it is."""
        self._negotiation.keep_identity()

    def close(self) -> None:
        """Negotiate nothing more."""
        self._negotiation.close()

    def take_gathered(self, event: ice.LocalCandidateGathered | ice.GatheringCompleted) -> None:
        """Take what the agent has gathered, for the application to signal."""
        match event:
            case ice.LocalCandidateGathered():
                self._gathered.append(event)
            case ice.GatheringCompleted():
                self._gathering_is_complete = True
            case _:
                assert_never(event)
        self._tell_gathered(event)

    # -- offer and answer ----------------------------------------------------------------------------------------

    @property
    def state(self) -> jsep.SignalingState:
        """Where the exchange of offer and answer stands."""
        return self._negotiation.signaling_state

    def create_offer(self) -> str:
        """The text of an offer. Raises UsageError."""
        return self._negotiation.create_offer(self._local_transport())

    def create_answer(self) -> str:
        """The text of an answer. Raises UsageError."""
        return self._negotiation.create_answer(self._local_transport())

    def set_local_description(self, type_: str | None, sdp: str | None, now: float) -> jsep.Applied:
        """Apply our own description; None means the one that is due. Raises UsageError."""
        applied = self._negotiation.set_local(type_, sdp, self._local_transport())
        self._apply(applied, now)
        return applied

    def set_remote_description(self, type_: str, sdp: str, now: float) -> jsep.Applied:
        """Apply the peer's description. Raises InvalidDescriptionError and UsageError."""
        applied = self._negotiation.set_remote(type_, sdp)
        self._credentials_to_answer = self._choose_credentials_to_answer(applied)
        self._apply(applied, now)
        while self._early_candidates:
            try:
                self._add_candidate(*self._early_candidates.popleft(), now)
            except (InvalidDescriptionError, UsageError):
                pass  # one that fits no section of this description: whoever brought it cannot be told any more
        return applied

    def add_remote_candidate(
        self, line: str, mid: str | None, index: int | None, ufrag: str | None, now: float
    ) -> None:
        """Take a candidate of the peer's; "" ends them. Raises InvalidDescriptionError and UsageError."""
        if line:
            _parse_candidate(line)
        if self.has_remote_description:
            self._add_candidate(line, mid, index, ufrag, now)
        else:
            self._early_candidates.append((line, mid, index, ufrag))

    def resolve_name(self, name: str, host: str, now: float) -> None:
        """Learn the address behind a name that a candidate of the peer's has."""
        for candidate in self._named_candidates:
            if candidate.host.lower() == name.lower():
                resolved = copy.copy(candidate)
                resolved.host = host
                self._agent.add_remote_candidate(resolved, now)

    def restart_ice(self) -> None:
        """Have the next offer bring new credentials."""
        if self.wants_candidates:  # else there is nothing yet to start again
            self._next_credentials = ice.Credentials.generate(self._rng)
            self._negotiation.request_restart()

    @property
    def has_remote_description(self) -> bool:
        """Whether the peer has described itself."""
        return any(map(self._negotiation.describe, (jsep.Which.PENDING_REMOTE, jsep.Which.CURRENT_REMOTE)))

    def describe(self, which: jsep.Which) -> tuple[jsep.Kind, str] | None:
        """Type and text of one of the four descriptions; local ones have the candidates gathered so far."""
        return self._negotiation.describe(which, self._candidate_lines, self._gathering_is_complete)

    def describe_candidate(self, candidate: ice.Candidate) -> tuple[str, str | None, int | None, str]:
        """What signalling carries of a candidate: its line, its section's mid and index, its generation's ufrag."""
        return self._negotiation.local_candidate_init(_candidate_line(candidate))

    def _local_transport(self) -> jsep.LocalTransport:
        is_answering = self.state in (
            jsep.SignalingState.HAVE_REMOTE_OFFER,
            jsep.SignalingState.HAVE_LOCAL_PRANSWER,
        )
        wanted = self._credentials_to_answer if is_answering else self._next_credentials
        credentials = wanted or self._agent.local_credentials
        is_present = credentials == self._agent.local_credentials
        return jsep.LocalTransport(
            ufrag=credentials.ufrag,
            password=credentials.password,
            fingerprints=self._fingerprints,
            lite=self._agent.is_lite,
            candidates=self._candidate_lines if is_present else (),
            end_of_candidates=is_present and self._gathering_is_complete,
            max_message_size=self._max_message_size,
        )

    def _choose_credentials_to_answer(self, applied: jsep.Applied) -> ice.Credentials | None:
        """RFC 8445 §9: a restart takes both sides; and an answer to an offer that is none must not be one either."""
        if applied.remote is not None and self._agreed_remote_credentials not in (
            None,
            _credentials_of(applied.remote),
        ):
            return ice.Credentials.generate(self._rng)
        return None if applied.local is None else _credentials_of(applied.local)

    def _apply(self, applied: jsep.Applied, now: float) -> None:
        """Act upon what is in force after a description was set."""
        is_offered_to_us = applied.signaling_state is jsep.SignalingState.HAVE_REMOTE_OFFER
        is_offered_by_us = applied.signaling_state is jsep.SignalingState.HAVE_LOCAL_OFFER
        if self._agreed_remote_credentials is None and (is_offered_by_us or is_offered_to_us):
            # RFC 8445 §6.1.1: whoever offers first controls, unless only the other can.
            only_we_can = applied.remote is not None and applied.remote.lite and not self._agent.is_lite
            self._agent.set_controlling(is_offered_by_us or only_we_can, now)
        self._follow_rollback(applied, now)
        if applied.local is not None and not is_offered_to_us:
            self.wants_candidates = True
            self._use_local(applied.local, now)
        # While an offer of ours is pending the peer has said nothing new: what it said before belongs to the generation
        # before. And an offer of its own counts when it is answered, unless nothing has been agreed on yet.
        is_heard = not is_offered_by_us and (not is_offered_to_us or self._agreed_remote_credentials is None)
        if applied.remote is not None and is_heard:
            self._use_remote(applied.remote, now)
        if applied.signaling_state is jsep.SignalingState.STABLE:
            self._agreed_remote_credentials = None if applied.remote is None else _credentials_of(applied.remote)
            if applied.local is not None and _credentials_of(applied.local) == self._next_credentials:
                self._next_credentials = None

    def _follow_rollback(self, applied: jsep.Applied, now: float) -> None:
        """Return to what was agreed, in what an offer has changed already."""
        if not applied.rolled_back:
            return
        if applied.local is None:
            self._tell_candidates_of(None)
        else:
            self._use_local(applied.local, now)
        if applied.remote is None:
            self._forget_candidates()
            self._agent.forget_remote(now)

    def _use_local(self, local: jsep.LocalTransport, now: float) -> None:
        credentials = _credentials_of(local)
        if credentials != self._agent.local_credentials:
            self._forget_candidates()
            self._agent.resume(now)
        if credentials != self._agent.local_credentials:
            self._gathered.clear()
            self._gathering_is_complete = False
            self._agent.restart(now, credentials)
        self._tell_candidates_of(credentials)

    def _use_remote(self, remote: jsep.RemoteTransport, now: float) -> None:
        credentials = _credentials_of(remote)
        if credentials != self._agent.remote_credentials:
            self._forget_candidates()
            self._agent.forget_remote(now)
            self._agent.set_remote_credentials(credentials, lite=remote.lite, now=now)
        for line in remote.candidates:
            try:
                self._add_line(line, now)
            except InvalidDescriptionError:
                pass  # RFC 8839 §5.1: what is not understood is left out; one good candidate is enough
        if remote.end_of_candidates:
            self._agent.end_of_remote_candidates(now)
        self.remote_max_message_size = remote.max_message_size

    def _add_candidate(self, line: str, mid: str | None, index: int | None, ufrag: str | None, now: float) -> None:
        candidate = self._negotiation.parse_candidate(mid, index, line, ufrag)
        match candidate.fate:
            case jsep.CandidateFate.ADD:
                self._add_line(candidate.line, now)
            case jsep.CandidateFate.END:
                self._agent.end_of_remote_candidates(now)
            case jsep.CandidateFate.IGNORE:
                pass
            case _:
                assert_never(candidate.fate)

    def _add_line(self, line: str, now: float) -> None:
        candidate = _parse_candidate(line)
        if line not in self._added_candidates:
            self._added_candidates.add(line)
            self._agent.add_remote_candidate(candidate, now)
            if parse_ip(candidate.host) is None:
                self._named_candidates.append(candidate)
                self._events.append(NameFound(candidate.host))

    def _tell_candidates_of(self, credentials: ice.Credentials | None) -> None:
        """Have the application signal what is gathered under these credentials, from the beginning."""
        if credentials == self._credentials_of_told:
            return
        if self._credentials_of_told is not None:
            self._events.append(GatheringStarted())
        self._credentials_of_told = credentials
        for event in self._gathered:
            self._tell_gathered(event)
        if self._gathering_is_complete:
            self._tell_gathered(ice.GatheringCompleted())

    def _tell_gathered(self, event: ice.LocalCandidateGathered | ice.GatheringCompleted) -> None:
        # After the first offer is rolled back there is no section that a candidate could be of, until the next.
        if self._credentials_of_told is not None:
            self._events.append(event)

    @property
    def _candidate_lines(self) -> tuple[str, ...]:
        return tuple(_candidate_line(gathered.candidate) for gathered in self._gathered)

    def _forget_candidates(self) -> None:
        """Those of the peer so far are of a generation that is over."""
        self._added_candidates.clear()
        self._named_candidates.clear()

    @property
    def needs_negotiation(self) -> bool:
        """Whether an offer should be made."""
        return self._negotiation.negotiation_needed

    def _notice_need(self) -> None:
        needed = self.needs_negotiation
        if needed and not self._was_needed:
            self._events.append(NegotiationNeeded())
        self._was_needed = needed


def _credentials_of(transport: jsep.LocalTransport | jsep.RemoteTransport) -> ice.Credentials:
    return ice.Credentials(transport.ufrag, transport.password)


def _candidate_line(candidate: ice.Candidate) -> str:
    return f"candidate:{candidate.to_sdp()}"


def _parse_candidate(line: str) -> ice.Candidate:
    try:
        return ice.parse_candidate(line)
    except ValueError as error:
        raise InvalidDescriptionError(str(error)) from error
