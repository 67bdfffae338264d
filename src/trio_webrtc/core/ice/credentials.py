"""The name and password by which one generation of an agent is known (RFC 8445 §5.3, RFC 8839 §5.4)."""

import random
import re
import string
from dataclasses import dataclass
from typing import Final, Self

_ICE_CHARS: Final = string.ascii_letters + string.digits + "+/"  # 64 of them: a random byte chooses fairly
# What we generate keeps to ice-chars; some products also use these four, and browsers let them.
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/\-_=#]{4,256}\Z")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/\-_=#]{22,256}\Z")

# RFC 8839 §5.4 asks for 24 bits of randomness in the one and 128 in the other; an ice-char has 6.
_UFRAG_LENGTH: Final = 8
_PASSWORD_LENGTH: Final = 24


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user fragment and a password.

    Raises:
        ValueError: One of them is too short, too long, or contains what nobody uses in it.
    """

    ufrag: str
    password: str

    def __post_init__(self) -> None:
        if not _UFRAG.match(self.ufrag):
            raise ValueError("an ICE user fragment is 4 to 256 letters, digits or +/-_=#")
        if not _PASSWORD.match(self.password):
            raise ValueError("an ICE password is 22 to 256 letters, digits or +/-_=#")

    @classmethod
    def generate(cls, rng: random.Random) -> Self:
        """New credentials that nobody can guess, if `rng` is one that nobody can."""
        # One call for all: where `rng` asks the operating system, each of them is a system call.
        chosen = "".join(_ICE_CHARS[byte % len(_ICE_CHARS)] for byte in rng.randbytes(_UFRAG_LENGTH + _PASSWORD_LENGTH))
        return cls(chosen[:_UFRAG_LENGTH], chosen[_UFRAG_LENGTH:])

    @property
    def key(self) -> bytes:
        """The key of MESSAGE-INTEGRITY: with short-term credentials the password (RFC 8489 §9.1.1)."""
        return self.password.encode()
