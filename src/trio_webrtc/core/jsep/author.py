"""Who writes our descriptions: one hand, so that the versions in `o=` only ever rise."""

import random
from collections.abc import Sequence
from dataclasses import replace

from trio_webrtc.core.jsep.agreement import Agreement
from trio_webrtc.core.jsep.composing import ICE_OPTIONS, PlannedSection, compose, new_data_section
from trio_webrtc.core.jsep.layout import Section, read_layout
from trio_webrtc.core.jsep.local import LocalDescription
from trio_webrtc.core.jsep.reading import Setup
from trio_webrtc.core.jsep.remote import RemoteDescription
from trio_webrtc.core.jsep.transports import Kind, LocalTransport
from trio_webrtc.core.sdp import Origin, Session


class Author:
    """Makes offers and answers that continue one session."""

    def __init__(self, *, rng: random.Random) -> None:
        # RFC 9429 §5.2.1: 64 bits of which the first is zero, so that it fits a signed integer anywhere.
        self._origin = Origin("-", rng.getrandbits(63), 0)
        self._last: Session | None = None

    def make_offer(self, agreed: Agreement | None, transport: LocalTransport, *, data: bool) -> LocalDescription:
        """Offer the sections there are, in their order, and data channels if asked for (RFC 9429 §5.2)."""
        # RFC 9429 §5.2.2: a section keeps its place, its mid and its protocol as long as the session lasts.
        sections = () if agreed is None else agreed.sections
        plan = [_plan(section, accepted=section.is_data and accepted) for section, accepted in sections]
        if data and not any(section.accepted for section in plan):
            _add_data(plan)
        return self._write("offer", plan, transport, setup="actpass", bundled=True, ice_options=ICE_OPTIONS)

    def make_answer(
        self, offer: RemoteDescription, agreed: Agreement | None, transport: LocalTransport
    ) -> LocalDescription:
        """Accept the offer's data section and reject all others (RFC 9429 §5.3)."""
        data = offer.data
        plan = [_plan(section, accepted=section is data) for section in offer.layout.sections]
        return self._write(
            "answer",
            plan,
            transport,
            setup=_choose_setup(offer, agreed),
            bundled=data is not None and bool(offer.layout.bundle_of(data)),
            # RFC 9429 §5.3.1: an answer names the options that the offer had too.
            ice_options=[option for option in ICE_OPTIONS if option in offer.ice_options],
        )

    def _write(
        self,
        kind: Kind,
        plan: Sequence[PlannedSection],
        transport: LocalTransport,
        *,
        setup: Setup,
        bundled: bool,
        ice_options: Sequence[str],
    ) -> LocalDescription:
        session = compose(self._origin, plan, transport, setup=setup, bundled=bundled, ice_options=ice_options)
        if session != self._last:
            # RFC 3264 §8: what differs from the description before it counts one up.
            self._origin = replace(self._origin, session_version=self._origin.session_version + 1)
            session = replace(session, origin=self._origin)
        self._last = session
        return LocalDescription(kind, session, read_layout(session), transport, setup)


def _plan(section: Section, *, accepted: bool) -> PlannedSection:
    media = section.media
    return PlannedSection(media.kind, media.protocol, media.formats[0], section.mid, accepted)


def _add_data(plan: list[PlannedSection]) -> None:
    taken = {section.mid for section in plan}
    data = new_data_section(next(mid for mid in map(str, range(len(plan) + 1)) if mid not in taken))
    for index, section in enumerate(plan):
        if section.kind == data.kind:
            # RFC 9429 §5.2.2: a section that was rejected may be used anew, under a new mid.
            plan[index] = data
            return
    plan.append(data)


def _choose_setup(offer: RemoteDescription, agreed: Agreement | None) -> Setup:
    match offer.setup:
        case "active":
            return "passive"
        case "passive":
            return "active"
        case "actpass":
            # RFC 8842 §5.3: being active saves a round trip. But an association that goes on keeps its roles (§5.5).
            if agreed is not None and agreed.continues_with(offer.transport) and agreed.role == "server":
                return "passive"
            return "active"
