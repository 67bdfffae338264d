"""Records from outside: borders, datagrams, runs, numbers."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.dtls.records import HEADER_LENGTH, Numbering, pack, runs_of, split_records


def record(body: bytes, epoch: int = 0, sequence: int = 0) -> bytes:
    return (
        b"\x16\xfe\xfd" + epoch.to_bytes(2, "big") + sequence.to_bytes(6, "big") + len(body).to_bytes(2, "big") + body
    )


bodies = st.lists(st.binary(min_size=1, max_size=300), max_size=12)


@given(bodies)
def test_joined_records_are_cut_where_they_were_joined(bodies):
    records = [record(body) for body in bodies]
    assert list(split_records(b"".join(records))) == records


@given(st.binary(max_size=100))
def test_any_bytes_are_records_or_malformed(datagram):
    try:
        assert b"".join(split_records(datagram)) == datagram
    except MalformedPacketError:
        pass


def test_a_record_larger_than_what_openssl_reads_is_malformed():
    with pytest.raises(MalformedPacketError):
        split_records(record(bytes(20_000)))


@given(bodies, st.integers(20, 1500))
def test_packing_keeps_order_and_fills_datagrams(bodies, mtu):
    records = [record(body) for body in bodies]
    datagrams = list(pack(records, mtu))
    assert b"".join(datagrams) == b"".join(records)
    for datagram in datagrams:
        assert len(datagram) <= mtu or len(split_records(datagram)) == 1
    for datagram, following in pairwise(datagrams):
        assert len(datagram) + len(split_records(following)[0]) > mtu


def test_only_unprotected_records_are_renumbered():
    numbering = Numbering()
    protected = record(b"secret", epoch=1, sequence=7)
    assert numbering.renumber(record(b"a", sequence=5)) == record(b"a", sequence=0)
    assert numbering.renumber(protected) == protected
    assert numbering.renumber(record(b"b", sequence=5)) == record(b"b", sequence=1)


@given(st.lists(st.integers(0, 2000).map(bytes), max_size=200))
def test_runs_lose_nothing_but_the_empty(packets):
    runs = list(runs_of(packets))
    assert [packet for run in runs for packet in run] == [packet for packet in packets if packet]
    for run in runs:
        assert len({len(packet) for packet in run[:-1]}) <= 1
        assert len(run[-1]) <= len(run[0])


def test_a_header_alone_is_no_record():
    with pytest.raises(MalformedPacketError):
        split_records(bytes(HEADER_LENGTH))
