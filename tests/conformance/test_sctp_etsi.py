"""ETSI's SCTP conformance tests (TS 102 369), as the scripts that M. Tüxen and others have written of them."""

import os
from pathlib import Path

import pytest

from .packetdrill.player import Departure, Player
from .packetdrill.script import Script

SCRIPTS = "sctp-packetdrill/etsi/*/*.pkt"

SYSTEMS = ("FreeBSD", "Linux")
"""Where RFC 9260 leaves a choice, scripts tell what each of these does. Either will do."""

DEPARTURES = {
    "sctp-as-o-1-9-2": "an INIT that adds an address is to be refused: under DTLS, addresses are ICE's (RFC 8261)",
    "sctp-as-v-1-7-3": "wants 2 streams out and 1 in: a data channel has one each way, so there is one number for both",
    "sctp-d-v-8-9": "waits for T3-rtx where one later packet of two has arrived: we send again at once (RFC 5827)",
    "sctp-fh-o-5-3-5": "a packet from a multicast address is to be dropped: no addresses reach SCTP (RFC 8261)",
    "sctp-rt-i-11-3": "retransmissions are to alternate between two addresses: there is one path (RFC 8261)",
}
"""What we do otherwise, and why."""


def found() -> list[Path]:
    folder = os.environ.get("TRIO_WEBRTC_CORPORA")
    return sorted(Path(folder).glob(SCRIPTS)) if folder else []


def script(path: Path):
    why = DEPARTURES.get(path.stem)
    marks = [pytest.mark.xfail(reason=why, raises=Departure, strict=True)] if why else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [script(path) for path in found()] or [pytest.param(None, id="none")])
def test_the_association_does_as_the_script_says(path, corpora):
    departures = []
    for system in SYSTEMS:
        try:
            Player(Script.read(path, system)).play()
            return
        except Departure as departure:
            departures.append(f"as on {system}: {departure}")
    raise Departure("\n".join(departures))


def test_all_scripts_are_there_and_at_least_a_hundred_pass(corpora):
    names = {path.stem for path in found()}
    assert len(names) == 115
    assert names >= DEPARTURES.keys()
    assert len(names - DEPARTURES.keys()) >= 100
