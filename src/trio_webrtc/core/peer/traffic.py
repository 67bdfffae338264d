"""How much has passed below DTLS."""

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """How much has passed below DTLS, in datagrams and bytes."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    datagrams_dropped: int = 0
    """Of no protocol known here, or from an address that has proved nothing."""

    def sent(self, datagrams: int, size: int) -> None:
        """Count what goes out."""
        self.datagrams_sent += datagrams
        self.bytes_sent += size

    def received(self, datagrams: int, size: int) -> None:
        """Count what comes in."""
        self.datagrams_received += datagrams
        self.bytes_received += size
