"""What two SCTP associations cost, in one process and without a network: MB/s and microseconds per packet.

Both sides are in the figures, checksums and acknowledgements too; DTLS and sockets are not.

    python benchmarks/sctp_association.py [megabytes]
"""

import random
import sys
import time

from trio_webrtc.core.sctp import Association, Message, SctpSettings

BATCH = 54
"""Packets in one batch: as many full ones as go into one segmented run."""

WAITING = 1_000_000
"""Bytes accepted and not yet acknowledged that the sender keeps waiting."""

SIZES = (64, 1_000, 16_384, 262_144)


def connected_pair(now: float) -> tuple[Association, Association]:
    """A client and a server, with the handshake behind them."""
    client, server = (
        Association(settings=SctpSettings(), rng=random.Random(seed), max_packet_size=1_200, now=now) for seed in (1, 2)
    )
    client.connect(now)
    while not (client.is_established and server.is_established):
        server.receive_datagrams(client.poll_transmits(now, BATCH), now)
        client.receive_datagrams(server.poll_transmits(now, BATCH), now)
    return client, server


def transfer(message_size: int, total: int) -> tuple[float, int, int]:
    """Move `total` bytes; return CPU seconds, messages and packets."""
    now = 0.0
    client, server = connected_pair(now)
    data = bytes(message_size)
    count = total // message_size
    sent = received = 0
    began = time.process_time()
    while received < count:
        now += 0.0001
        while sent < count and client.unacknowledged_total < WAITING:
            client.send(1, 53, data, now=now)
            sent += 1
        server.receive_datagrams(client.poll_transmits(now, BATCH), now)
        while (event := server.poll_event()) is not None:
            if isinstance(event, Message):
                received += 1
                server.release(event.cost, now)
        client.receive_datagrams(server.poll_transmits(now, BATCH), now)
        for association in (client, server):
            due = association.next_timeout()
            if due is not None and due <= now:
                association.handle_timeout(now)
    return time.process_time() - began, count, client.counters.packets_sent


def main() -> None:
    """Print a line for each size of message."""
    total = int(sys.argv[1] if len(sys.argv) > 1 else 50) * 1_000_000
    print(f"{'message':>10} {'MB/s':>8} {'µs/message':>12} {'µs/packet':>10}   (sender and receiver together)")
    for size in SIZES:
        # Small messages take long per byte; a tenth of them tells as much.
        seconds, messages, packets = transfer(size, total if size >= 1_000 else total // 10)
        moved = size * messages / 1_000_000
        print(f"{size:>10} {moved / seconds:>8.1f} {seconds / messages * 1e6:>12.2f} {seconds / packets * 1e6:>10.2f}")


if __name__ == "__main__":
    main()
