"""What the peer's description says of its end of the transport.

An attribute may stand in the data section, in the section whose address its BUNDLE group uses (RFC 9143 §7.1.3), or at
the session's level; the nearest counts. Absent ones mean what their RFC says they mean when absent.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NoReturn, TypeAlias

from trio_webrtc.core.jsep.layout import Layout, Section
from trio_webrtc.core.jsep.transports import DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_SCTP_PORT, RemoteTransport
from trio_webrtc.core.sdp import Attribute, Media, Session
from trio_webrtc.errors import InvalidDescriptionError

Setup: TypeAlias = Literal["actpass", "active", "passive"]

# RFC 8839 §5.4 has letters, digits, "+" and "/"; some products also use these four, and browsers let them.
_UFRAG = re.compile(r"[A-Za-z0-9+/\-_=#]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/\-_=#]{22,256}")
_FINGERPRINT = re.compile(r"([!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)")
_NUMBER = re.compile(r"[0-9]{1,20}")


def carrier_of(layout: Layout, data: Section) -> Section:
    """The section whose transport carries the data: its own, or that of its group.

    A bundled section that names no credentials of its own uses those of the tagged section. One that has its own
    keeps them even behind a tagged section of audio or video: that one we reject, and this one becomes the tagged
    one (RFC 9143 §7.3.1).
    """
    # Departs from RFC 9143 §7.3.1 where the data is bundle-only and its tagged section of audio or video is rejected:
    # that would leave no group and nothing to connect. Going by the tagged section's transport loses nothing.
    tagged = layout.tagged_for(data)
    if data.bundle_only or not data.media.has("ice-ufrag"):
        return tagged if tagged.media.has("ice-ufrag") else data
    return data


def read_transport(session: Session, layout: Layout, data: Section) -> RemoteTransport:
    """Put together what is said of the data section's transport.

    Raises:
        InvalidDescriptionError: something that is needed is missing or malformed.
    """
    carrier = carrier_of(layout, data).media
    levels = _levels(session, layout, data)
    return RemoteTransport(
        ufrag=_read_credential("ice-ufrag", _UFRAG, levels, data.media),
        password=_read_credential("ice-pwd", _PASSWORD, levels, data.media),
        lite=session.has("ice-lite"),
        fingerprints=tuple(_read_fingerprints(levels, data.media)),
        candidates=tuple(f"candidate:{found.value}" for found in carrier.find_all("candidate") if found.value),
        end_of_candidates=carrier.has("end-of-candidates") or session.has("end-of-candidates"),
        trickle="trickle" in read_ice_options(session, layout, data),
        sctp_port=_read_sctp_port(data),
        max_message_size=_read_number(data.media, "max-message-size", DEFAULT_MAX_MESSAGE_SIZE),
        mid=data.mid,
    )


def read_ice_options(session: Session, layout: Layout, data: Section) -> frozenset[str]:
    """What the peer's ICE agent says it can do (RFC 8839 §5.6)."""
    levels = _levels(session, layout, data)
    # Some products put commas between their options (libdatachannel: "ice2,trickle").
    return frozenset(
        word
        for level in levels
        for found in level.find_all("ice-options")
        for word in re.split("[ ,]+", found.value or "")
    )


def read_setup(session: Session, layout: Layout, data: Section, *, absent: Setup) -> tuple[Setup, int | None]:
    """Who is to begin the DTLS handshake (RFC 4145 §4, RFC 8842 §5), and the line that says so.

    Raises:
        InvalidDescriptionError: it says something else than actpass, active or passive.
    """
    found = _nearest("setup", _levels(session, layout, data))
    if found is None:
        return absent, data.media.line
    match (found.value or "").strip(" ").lower():
        case "actpass" | "active" | "passive" as setup:
            return setup, found.line
        case _:
            _fail("a setup of actpass, active or passive", found.line)


def _levels(session: Session, layout: Layout, data: Section) -> tuple[Media | Session, ...]:
    return carrier_of(layout, data).media, data.media, layout.tagged_for(data).media, session


def _nearest(name: str, levels: Sequence[Media | Session]) -> Attribute | None:
    return next((found for level in levels if (found := level.find(name)) is not None), None)


def _read_credential(name: str, shape: re.Pattern[str], levels: Sequence[Media | Session], media: Media) -> str:
    found = _nearest(name, levels)
    if found is None:
        _fail(f"the data section to have a={name}", media.line)
    value = (found.value or "").strip(" ")
    if not shape.fullmatch(value):
        _fail(f"an {name} as RFC 8839 §5.4 has it", found.line)
    return value


def _read_fingerprints(levels: Sequence[Media | Session], media: Media) -> Iterator[str]:
    # RFC 8122 §5: those of a section replace those of the session, and several may stand side by side.
    level = next((level for level in levels if level.has("fingerprint")), None)
    if level is None:
        _fail("the data section to have a=fingerprint", media.line)
    for found in level.find_all("fingerprint"):
        match = _FINGERPRINT.fullmatch((found.value or "").strip(" "))
        if match is None:
            _fail("a fingerprint like sha-256 AB:CD:...", found.line)
        yield f"{match[1].lower()} {match[2].upper()}"


def _read_sctp_port(data: Section) -> int:
    if data.has_port_as_format:
        port, line = data.media.formats[0], data.media.line
    elif (found := data.media.find("sctp-port")) is not None:
        port, line = (found.value or "").strip(" "), found.line
    else:
        return DEFAULT_SCTP_PORT
    if not _NUMBER.fullmatch(port) or not 0 < int(port) <= 65535:
        _fail("an SCTP port from 1 to 65535", line)
    return int(port)


def _read_number(media: Media, name: str, absent: int) -> int:
    found = media.find(name)
    if found is None:
        return absent
    value = (found.value or "").strip(" ")
    if not _NUMBER.fullmatch(value):
        _fail(f"{name} to be a number of at most 20 digits", found.line)
    return int(value)


def _fail(expected: str, line: int | None) -> NoReturn:
    raise InvalidDescriptionError(f"expected {expected}", line=line)
