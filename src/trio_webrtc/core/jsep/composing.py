"""Our side's descriptions, as a model without candidates, which come and go while it stands (RFC 9429 §5.2, §5.3)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from trio_webrtc.core.jsep.candidates import NO_DESTINATION, default_destination
from trio_webrtc.core.jsep.layout import DATA_FORMAT
from trio_webrtc.core.jsep.reading import Setup
from trio_webrtc.core.jsep.transports import LocalTransport
from trio_webrtc.core.sdp import Attribute, Media, Origin, Session

ICE_OPTIONS = ("trickle", "ice2")
"""What our ICE agent can do: RFC 8838 and RFC 8445."""


@dataclass(frozen=True, slots=True)
class PlannedSection:
    """A section of the description to be made: data, or something that is turned down."""

    kind: str
    protocol: str
    format: str
    mid: str | None
    accepted: bool


def new_data_section(mid: str) -> PlannedSection:
    """A data section as RFC 8841 §4 has it."""
    return PlannedSection("application", "UDP/DTLS/SCTP", DATA_FORMAT, mid, accepted=True)


def compose(
    origin: Origin,
    plan: Sequence[PlannedSection],
    transport: LocalTransport,
    *,
    setup: Setup,
    bundled: bool,
    ice_options: Sequence[str] = ICE_OPTIONS,
) -> Session:
    """Make a description of the sections planned. `bundled`: whether the data section stands in a BUNDLE group."""
    return Session(
        origin=origin,
        attributes=tuple(_session_attributes(plan, transport, bundled, ice_options)),
        media=tuple(_compose_section(section, transport, setup) for section in plan),
    )


def with_candidates(session: Session, data_index: int | None, candidates: Sequence[str], *, ended: bool) -> Session:
    """The description with what has been gathered: the lines, and the default destination."""
    if data_index is None:
        return session
    destination = default_destination(candidates)
    lines = [Attribute("candidate", line.removeprefix("candidate:")) for line in candidates]
    if ended:
        lines.append(Attribute("end-of-candidates"))
    media = list(session.media)
    media[data_index] = replace(
        media[data_index],
        port=destination.port,
        connection=destination.connection,
        attributes=(*lines, *media[data_index].attributes),
    )
    return replace(session, media=tuple(media))


def without_candidates(session: Session, data_index: int | None) -> Session:
    """The description as it was before anything was gathered: the inverse of `with_candidates`."""
    if data_index is None or data_index >= len(session.media):
        return session
    media = list(session.media)
    kept = (found for found in media[data_index].attributes if found.name not in {"candidate", "end-of-candidates"})
    media[data_index] = replace(
        media[data_index],
        port=NO_DESTINATION.port,
        connection=NO_DESTINATION.connection,
        attributes=tuple(kept),
    )
    return replace(session, media=tuple(media))


def _session_attributes(
    plan: Sequence[PlannedSection], transport: LocalTransport, bundled: bool, ice_options: Sequence[str]
) -> Iterator[Attribute]:
    if transport.lite:
        yield Attribute("ice-lite")
    if ice_options:
        yield Attribute("ice-options", " ".join(ice_options))
    mids = [section.mid for section in plan if section.accepted and section.mid is not None]
    if bundled and mids:
        yield Attribute("group", f"BUNDLE {' '.join(mids)}")


def _compose_section(section: PlannedSection, transport: LocalTransport, setup: Setup) -> Media:
    if not section.accepted:
        attributes = [Attribute("inactive")]
        if section.mid is not None:
            attributes.append(Attribute("mid", section.mid))
    else:
        attributes = list(_data_attributes(section, transport, setup))
    return Media(
        kind=section.kind,
        port=NO_DESTINATION.port if section.accepted else 0,
        protocol=section.protocol,
        formats=(_format(section, transport),),
        connection=NO_DESTINATION.connection,
        attributes=tuple(attributes),
    )


def _format(section: PlannedSection, transport: LocalTransport) -> str:
    is_port = section.accepted and section.format != DATA_FORMAT
    return f"{transport.sctp_port}" if is_port else section.format


def _data_attributes(section: PlannedSection, transport: LocalTransport, setup: Setup) -> Iterator[Attribute]:
    yield Attribute("ice-ufrag", transport.ufrag)
    yield Attribute("ice-pwd", transport.password)
    for fingerprint in transport.fingerprints:
        yield Attribute("fingerprint", fingerprint)
    yield Attribute("setup", setup)
    if section.mid is not None:
        yield Attribute("mid", section.mid)
    if section.format == DATA_FORMAT:
        yield Attribute("sctp-port", f"{transport.sctp_port}")
    else:
        # The drafts before RFC 8841 name the port in m= and describe it here.
        yield Attribute("sctpmap", f"{transport.sctp_port} {DATA_FORMAT} 65535")
    yield Attribute("max-message-size", f"{transport.max_message_size}")
