"""The account of what may be sent to addresses that have proved nothing."""

from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.address_validation import MAX_WAYS, AmplificationLimit

HERE = ("udp", ("192.0.2.1", 1))
THERE = ("udp", ("192.0.2.2", 2))


@given(
    st.lists(st.tuples(st.sampled_from(["receive", "admits"]), st.sampled_from([HERE, THERE]), st.integers(0, 2000)))
)
def test_no_more_goes_out_by_a_way_than_has_come_by_it(steps):
    limit = AmplificationLimit()
    room = {HERE: 0, THERE: 0}
    for verb, way, size in steps:
        if verb == "receive":
            limit.receive(way, size)
            room[way] += size
        else:
            fits = size <= room[way]
            assert limit.admits(way, size) is fits
            room[way] -= size if fits else 0


def test_a_proof_frees_one_way_and_no_other():
    limit = AmplificationLimit()
    limit.receive(THERE, 10)
    limit.prove(HERE)
    assert limit.is_proven(HERE)
    assert limit.admits(HERE, 1_000_000)
    assert limit.admits(THERE, 10)
    assert not limit.admits(THERE, 1)


def test_the_oldest_way_makes_room():
    limit = AmplificationLimit()
    for port in range(MAX_WAYS + 1):
        limit.receive(("udp", ("192.0.2.1", port)), 10)
    assert not limit.admits(("udp", ("192.0.2.1", 0)), 1)
    assert all(limit.admits(("udp", ("192.0.2.1", port)), 10) for port in range(1, MAX_WAYS + 1))
