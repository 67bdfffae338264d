import random

import pytest

from trio_webrtc.core.ice import Credentials


def test_generated_credentials_are_long_enough_and_follow_the_seed():
    one, same, other = (Credentials.generate(random.Random(seed)) for seed in (1, 1, 2))
    assert one == same != other
    # RFC 8839 §5.4: at least 24 bits of randomness in one and 128 in the other, 6 a character.
    assert len(one.ufrag) * 6 >= 24
    assert len(one.password) * 6 >= 128


@pytest.mark.parametrize(
    ("ufrag", "password"),
    [
        ("abc", "a" * 22),
        ("a" * 257, "a" * 22),
        ("abcd", "a" * 21),
        ("abcd", "a" * 257),
        ("ab:d", "a" * 22),
        ("abcd\n", "a" * 22),
        ("abcd", "a" * 22 + "\n"),
        ("äbcd", "a" * 22),
    ],
)
def test_credentials_that_break_the_grammar_are_refused(ufrag, password):
    with pytest.raises(ValueError, match="ICE"):
        Credentials(ufrag, password)


def test_products_that_are_lax_about_the_alphabet_are_understood():
    assert Credentials("a-b_=#", "-_=#" * 6).key == b"-_=#" * 6
