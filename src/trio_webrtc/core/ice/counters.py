"""What came in or was to go out, and was not used."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Plain numbers that only grow."""

    malformed: int = 0
    """Datagrams that are no STUN message, or whose FINGERPRINT is wrong."""
    unexpected: int = 0
    """Well-formed, but neither asked for nor a question, or on a socket that is not ours any more."""
    refused: int = 0
    """Requests that were answered with an error; or not at all, if they prove nothing and there are many of them."""
    candidates_refused: int = 0
    """Candidates of the peer beyond the bound."""
    transmits_dropped: int = 0
    """Datagrams that found no room among those that wait to be polled."""
