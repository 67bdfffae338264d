"""How a description is laid out: its media sections, their mids, and which of them are bundled."""

import re
from dataclasses import dataclass
from typing import NoReturn

from trio_webrtc.core.sdp import Media, Session
from trio_webrtc.errors import InvalidDescriptionError

_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,256}")
_DATA_PROTOCOLS = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"})
DATA_FORMAT = "webrtc-datachannel"


@dataclass(frozen=True, slots=True)
class Section:
    """One media section, and what its place in the description makes of it."""

    index: int
    media: Media
    mid: str | None
    bundle_only: bool
    """Offered at the address of its group only, hence with port 0 (RFC 9143 §6)."""

    @property
    def rejected(self) -> bool:
        """Whether nothing goes through this section: not offered any more, or not accepted (RFC 3264 §5.1, §6)."""
        return self.media.port == 0 and not self.bundle_only

    @property
    def is_data(self) -> bool:
        """Whether this is a section of data channels, after RFC 8841 or, with the port as its format, its drafts."""
        return (
            self.media.kind == "application"
            and self.media.protocol.upper() in _DATA_PROTOCOLS
            and (self.media.formats[0] == DATA_FORMAT or self.has_port_as_format)
        )

    @property
    def has_port_as_format(self) -> bool:
        """Whether the section is written as the drafts before RFC 8841 had it: "DTLS/SCTP 5000" with `a=sctpmap`."""
        return self.media.formats[0].isascii() and self.media.formats[0].isdigit()


@dataclass(frozen=True, slots=True)
class Layout:
    """The sections in their order, and the BUNDLE groups as lists of mids."""

    sections: tuple[Section, ...]
    bundles: tuple[tuple[str, ...], ...]

    @property
    def data(self) -> Section | None:
        """The section that data channels go through: the first that is not rejected. More than one is not for us."""
        return next((section for section in self.sections if section.is_data and not section.rejected), None)

    def by_mid(self, mid: str) -> Section | None:
        """The section of this mid, or None."""
        return next((section for section in self.sections if section.mid == mid), None)

    def bundle_of(self, section: Section) -> tuple[str, ...]:
        """The mids of the group that the section belongs to; empty if it stands alone."""
        return next((mids for mids in self.bundles if section.mid in mids), ())

    def tagged_for(self, section: Section) -> Section:
        """The section whose address the whole group uses: the first of the group (RFC 9143 §7.1.3), or itself."""
        mids = self.bundle_of(section)
        return (self.by_mid(mids[0]) if mids else None) or section


def read_layout(session: Session) -> Layout:
    """Find the sections, mids and groups of a description.

    Raises:
        InvalidDescriptionError: mids are repeated, or a group names a mid that is not there.
    """
    mids = [_read_mid(media) for media in session.media]
    known: set[str] = set()
    for mid, media in zip(mids, session.media, strict=True):
        if mid in known:
            _fail(f"a mid of its own for each section, but {mid!r} is repeated", media.line)
        if mid is not None:
            known.add(mid)
    bundles = _read_bundles(session, known)
    bundled = {mid for group in bundles for mid in group}
    sections = (
        Section(index, media, mid, media.has("bundle-only") and mid in bundled)
        for index, (mid, media) in enumerate(zip(mids, session.media, strict=True))
    )
    return Layout(tuple(sections), bundles)


def _read_mid(media: Media) -> str | None:
    attribute = media.find("mid")
    if attribute is None:
        return None
    mid = (attribute.value or "").strip(" ")
    if not _TOKEN.fullmatch(mid):
        _fail("a mid of letters, digits and the like", attribute.line)
    return mid


def _read_bundles(session: Session, known: set[str]) -> tuple[tuple[str, ...], ...]:
    bundles: list[tuple[str, ...]] = []
    taken: set[str] = set()
    for attribute in session.find_all("group"):
        semantics, *mids = (attribute.value or "").split(" ")
        if semantics != "BUNDLE":
            continue
        group = tuple(mid for mid in mids if mid)
        if unknown := [mid for mid in group if mid not in known]:
            _fail(f"a BUNDLE group of sections that exist, but there is no mid {unknown[0]!r}", attribute.line)
        if not taken.isdisjoint(group):
            _fail("each mid in one BUNDLE group only", attribute.line)
        taken.update(group)
        bundles.append(group)
    return tuple(bundles)


def _fail(expected: str, line: int | None) -> NoReturn:
    raise InvalidDescriptionError(f"expected {expected}", line=line)
