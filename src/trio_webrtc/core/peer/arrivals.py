"""What has arrived, told apart: ICE's checks and answers, and the records of DTLS (RFC 7983)."""

from collections.abc import Sequence
from typing import NamedTuple

from trio_webrtc.core.address_validation import Way
from trio_webrtc.core.contract import Received, split_run
from trio_webrtc.core.demultiplexing import Protocol, protocol_of
from trio_webrtc.core.peer.traffic import Traffic


class Arrivals(NamedTuple):
    """The datagrams of one batch."""

    checks: list[Received]
    """STUN, one datagram each."""
    records: dict[Way, list[bytes]]
    """DTLS, by the ways on which it came."""


def tell_apart(batch: Sequence[Received], traffic: Traffic) -> Arrivals:
    """Sort a batch by protocol; count all of it, and drop what is of no protocol known here. Hot."""
    checks: list[Received] = []
    records_of: dict[Way, list[bytes]] = {}
    for via, from_, data, segment_size in batch:
        records: list[bytes] = []
        datagrams = split_run(data, segment_size)
        traffic.received(len(datagrams), len(data))
        for datagram in datagrams:
            protocol = protocol_of(datagram)
            if protocol is Protocol.DTLS:
                records.append(datagram)
            elif protocol is Protocol.STUN:
                checks.append(Received(via, from_, datagram))
            else:
                traffic.datagrams_dropped += 1
        if records:
            records_of.setdefault((via, from_), []).extend(records)
    return Arrivals(checks, records_of)
