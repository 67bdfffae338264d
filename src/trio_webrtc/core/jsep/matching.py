"""Whether a description of the peer's fits what went before it: an answer its offer, an offer what is agreed."""

from typing import NoReturn

from trio_webrtc.core.jsep.agreement import Agreement
from trio_webrtc.core.jsep.layout import Layout
from trio_webrtc.core.jsep.remote import RemoteDescription
from trio_webrtc.core.jsep.transports import RemoteTransport
from trio_webrtc.errors import InvalidDescriptionError


def check_answer(offer: Layout, answer: Layout) -> None:
    """An answer has the sections of its offer, in their order (RFC 3264 §6, RFC 9429 §5.11).

    Raises:
        InvalidDescriptionError: it does not; the line is that of the section that is too much or another.
    """
    _check_count(len(offer.sections), answer, exactly=True)
    offered_groups = [frozenset(group) for group in offer.bundles]
    for ours, theirs in zip(offer.sections, answer.sections, strict=True):
        line = theirs.media.line
        if theirs.media.kind != ours.media.kind:
            _fail(f"section {ours.index} to be {ours.media.kind} as it was offered", line)
        if theirs.mid is not None and theirs.mid != ours.mid:
            _fail(f"section {ours.index} to have the mid {ours.mid!r} as it was offered", line)
        if ours.rejected and not theirs.rejected:
            _fail(f"section {ours.index} to be rejected, because it was not offered", line)
        if not theirs.rejected and theirs.media.protocol.upper() != ours.media.protocol.upper():
            _fail(f"section {ours.index} to use {ours.media.protocol} as it was offered", line)
        if ours.is_data and not theirs.rejected and not theirs.is_data:
            _fail(f"section {ours.index} to be of data channels as it was offered", line)
    for group in answer.bundles:
        if group and not any(offered.issuperset(group) for offered in offered_groups):
            _fail("a BUNDLE group made of an offered one (RFC 9143 §7.3)", None)


def check_offer(agreed: Agreement, offer: RemoteDescription) -> None:
    """A later offer keeps the sections there are, in their order; it may add some (RFC 3264 §8, RFC 9429 §5.10).

    Raises:
        InvalidDescriptionError: it does not.
    """
    sections = list(agreed.sections)
    _check_count(len(sections), offer.layout, exactly=False)
    for (before, accepted), now in zip(sections, offer.layout.sections, strict=False):
        if not accepted:
            continue  # its place may be taken by anything (RFC 3264 §8.1)
        if now.media.kind != before.media.kind:
            _fail(f"section {before.index} to be {before.media.kind} as before", now.media.line)
        if not now.rejected and now.mid != before.mid:
            _fail(f"section {before.index} to have the mid {before.mid!r} as before", now.media.line)


def check_role(agreed: Agreement, remote: RemoteDescription) -> None:
    """While a DTLS association goes on, so do its roles (RFC 8842 §5.5).

    Raises:
        InvalidDescriptionError: the peer wants to be what this side is.
    """
    if remote.transport is None or remote.transport.restarts(agreed.remote.transport):
        # Departs from RFC 8842 §5.5: Firefox chooses a role anew when ICE restarts, and lets its association go on in
        # the old one all the same. So do we; what it has written decides which role it expects to read from us.
        return
    taken = "active" if agreed.role == "client" else "passive"
    if agreed.continues_with(remote.transport) and remote.setup == taken:
        _fail(f"a setup that leaves this side the DTLS {agreed.role}, as it is", remote.setup_line)


def check_identity(known: RemoteTransport | None, remote: RemoteDescription) -> None:
    """A DTLS association that is up goes on for as long as the connection.

    RFC 8842 §3 has other fingerprints ask for another association. Data channels could not outlive the one they are on
    (RFC 8261), and nothing else is here: a new connection does the same, and says so.

    Raises:
        InvalidDescriptionError: the peer names other certificates than the one it has shown.
    """
    if remote.transport is not None and remote.transport.changes_identity(known):
        _fail("the fingerprints of the DTLS association that is up; another one needs another connection", None)


def _check_count(expected: int, layout: Layout, *, exactly: bool) -> None:
    found = len(layout.sections)
    if found < expected:
        _fail(f"{expected} media sections, found {found}", None)
    if exactly and found > expected:
        _fail(f"{expected} media sections, found {found}", layout.sections[expected].media.line)


def _fail(expected: str, line: int | None) -> NoReturn:
    raise InvalidDescriptionError(f"expected {expected}", line=line)
