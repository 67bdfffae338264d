"""Certificate fingerprints (RFC 8122 §5): a certificate's hash, as a session description announces it."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

HASH_FUNCTIONS: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
"""The hash functions that vouch for a certificate. Weaker ones are read, and never believed."""

_TEXT: Final = re.compile(r"([!-~]+) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*)")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate in DER, and the function that made it (its name in lower case)."""

    algorithm: str
    value: bytes

    @classmethod
    def of(cls, der: bytes, algorithm: str = "sha-256") -> Self:
        """The fingerprint of a certificate; `algorithm` is one of `HASH_FUNCTIONS`."""
        if algorithm not in HASH_FUNCTIONS:
            raise ValueError(f"no fingerprints are made with {algorithm!r}")
        return cls(algorithm, HASH_FUNCTIONS[algorithm](der).digest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the value of an SDP fingerprint attribute, like "sha-256 4A:AD:…", in either case.

        Raises:
            ValueError: the text breaks the grammar. (A hash of the wrong length for its function matches nothing.)
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"not a fingerprint: {text!r}")
        # RFC 8122 §5: names of hash functions are compared without regard to case.
        return cls(match[1].lower(), bytes.fromhex(match[2].replace(":", "")))

    def __str__(self) -> str:
        """The fingerprint as SDP writes it."""
        return f"{self.algorithm} {self.value.hex(':').upper()}"

    def matches(self, der: bytes) -> bool:
        """Whether this is a fingerprint of that certificate, by a hash function that can be believed."""
        return self.algorithm in HASH_FUNCTIONS and self == Fingerprint.of(der, self.algorithm)


def is_announced(der: bytes, fingerprints: Iterable[Fingerprint]) -> bool:
    """Whether a certificate is among those that were announced.

    RFC 8122 §5.1 lets one description announce several certificates, and several hashes of each. One match is enough:
    every function believed here resists second preimages, so that none of them weakens another.
    """
    return any(fingerprint.matches(der) for fingerprint in fingerprints)
