"""Whoever stands in the book for an address stands there alone, and both of its directions agree."""

from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.shell.address_book import AddressBook

PLACES = st.tuples(st.sampled_from(["one way", "another"]), st.tuples(st.just("10.0.0.1"), st.integers(1, 4)))
OWNERS = st.sampled_from("abc")


@given(st.lists(st.tuples(PLACES, OWNERS | st.none())))
def test_an_address_is_its_latest_owners_and_nobody_elses(entries):
    book, expected = AddressBook(), {}
    for place, owner in entries:
        if owner is None:
            book.remove(place)
            expected.pop(place, None)
        else:
            book.assign(place, owner)
            expected[place] = owner
    assert book.owners == expected
    for owner in "abc":
        assert sorted(book.of(owner)) == sorted(place for place in expected if expected[place] == owner)


def test_nothing_is_kept_of_who_has_no_address_any_more():
    book = AddressBook()
    book.assign(("way", ("10.0.0.1", 1)), "a")
    book.assign(("way", ("10.0.0.1", 1)), "b")
    book.remove(("way", ("10.0.0.1", 1)))
    assert (book.owners, book._of) == ({}, {})
