"""Serial numbers (RFC 1982), with the examples of the RFC and a wider arithmetic beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.serial import add16, add32, distance16, distance32, is_later16, is_later32

WIDTHS = [
    pytest.param(16, add16, distance16, is_later16, id="16 bits"),
    pytest.param(32, add32, distance32, is_later32, id="32 bits"),
]


@pytest.mark.parametrize(("bits", "add", "distance", "is_later"), WIDTHS)
def test_comparisons_are_those_of_the_rfc(bits, add, distance, is_later):
    # RFC 1982 §5.2 gives them for 8 bits; scaled, for the rule is one for all widths.
    for later, earlier in [
        (1, 0),
        (44, 0),
        (100, 0),
        (100, 44),
        (200, 100),
        (255, 200),
        (0, 255),
        (100, 255),
        (0, 200),
    ]:
        later, earlier = later << (bits - 8), earlier << (bits - 8)
        assert is_later(later, earlier)
        assert not is_later(earlier, later)


@pytest.mark.parametrize(("bits", "add", "distance", "is_later"), WIDTHS)
def test_additions_are_those_of_the_rfc(bits, add, distance, is_later):
    # RFC 1982 §5.2: 255 + 1 is 0, 100 + 100 is 200, 200 + 100 is 44.
    unit = 1 << (bits - 8)
    assert add((1 << bits) - 1, 1) == 0
    assert add(0, -1) == (1 << bits) - 1
    assert add(100 * unit, 100 * unit) == 200 * unit
    assert add(200 * unit, 100 * unit) == 44 * unit


@pytest.mark.parametrize(("bits", "add", "distance", "is_later"), WIDTHS)
@given(data=st.data())
def test_a_distance_leads_from_one_number_to_the_other(bits, add, distance, is_later, data):
    half = 1 << (bits - 1)
    start = data.draw(st.integers(0, (1 << bits) - 1))
    steps = data.draw(st.integers(-half, half - 1) | st.sampled_from([-half, -1, 0, 1, half - 1]))
    end = add(start, steps)
    assert distance(start, end) == steps
    assert is_later(end, start) == (steps > 0)


@pytest.mark.parametrize(("bits", "add", "distance", "is_later"), WIDTHS)
def test_of_two_numbers_that_are_half_a_circle_apart_neither_is_later(bits, add, distance, is_later):
    # RFC 1982 §3.2 leaves it undefined; an order that is never wrong both ways round is the safe choice.
    half = 1 << (bits - 1)
    assert not is_later(half, 0)
    assert not is_later(0, half)
    assert not is_later(7, 7)
