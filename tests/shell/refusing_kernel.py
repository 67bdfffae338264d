"""Run in a network namespace whose loopback is slow: a real socket refuses, and yet all arrives in order.

Loopback never refuses a send as it is. A token bucket on it keeps datagrams charged to their socket until its buffer
is full (tc-tbf(8)). Prints what a test wants to see; exits with 77 where the machine does not allow that.
"""

import subprocess
import sys

import trio

from trio_webrtc.core.contract import split_run
from trio_webrtc.shell.host import HOST_NETWORK

COUNT = 600


async def main() -> None:
    left, right = (HOST_NETWORK.open_udp(("127.0.0.1", 0)) for _ in range(2))
    left._socket.setsockopt(1, 7, 100_000)  # SOL_SOCKET, SO_SNDBUF
    datagrams = [number.to_bytes(1000, "big") for number in range(COUNT)]
    received: list[bytes] = []

    async def read() -> None:
        while True:
            await right.wait_readable()
            for arrival in right.receive():
                received.extend(split_run(arrival.data, arrival.segment_size))

    refused = 0
    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for start in range(0, COUNT, 20):
                run = b"".join(datagrams[start : start + 20])
                while run:
                    run = run[left.send(right.local_address, run, 1000, None) :]
                    if run:
                        refused += 1
                        await left.wait_writable()
            while len(received) < COUNT:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    print("refused" if refused else "never refused", "in order" if received == datagrams else "not in order")
    left.close()
    right.close()


try:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    bucket = ["tbf", "rate", "40mbit", "burst", "70000", "limit", "10000000"]
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", *bucket], check=True)
except (OSError, subprocess.CalledProcessError) as error:
    print(error)
    sys.exit(77)
trio.run(main)
