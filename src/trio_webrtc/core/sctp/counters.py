"""What an association counts, for statistics and for tests."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Plain integers that only grow."""

    packets_sent: int = 0
    packets_received: int = 0
    malformed_packets: int = 0
    """Packets that no decoder could read."""
    stray_packets: int = 0
    """Packets with another association's ports or tag, or out of the blue (RFC 9260 §8.4, §8.5)."""
    unexpected_chunks: int = 0
    """Chunks that have no place in the present state, and SACKs that acknowledge what was never sent."""
    duplicate_chunks: int = 0
    """DATA that had arrived before."""
    refused_chunks: int = 0
    """DATA for which the window had no room, or beyond it."""
    messages_sent: int = 0
    messages_received: int = 0
    retransmitted_chunks: int = 0
    fast_retransmits: int = 0
    timeouts: int = 0
    """Expiries of T3-rtx (RFC 9260 §6.3.3)."""
    abandoned_messages: int = 0
    """Messages of partial reliability that were given up (RFC 3758)."""
