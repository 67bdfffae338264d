"""What a server with many peers costs, and what strangers can do to those who are on it.

    python benchmarks/server_load.py [--peers N] [--visitors N] [--seconds S] [--interval S] [--freeze] [--own-sockets]

One process serves on one UDP and one TCP port of the loopback; others visit it, half of their peers by TCP. Prints a
table in Markdown. `README.md` in this folder says what it shows and what it does not.
"""

import argparse
import gc
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from trio_webrtc import (
    Configuration,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
    open_webrtc_server,
)

HOST: Final = "127.0.0.1"
MESSAGE: Final = bytes(200)
AT_ONCE: Final = 8
"""Peers of one visitor that connect at one time."""
STRANGE_CONNECTIONS: Final = 10_000
STRANGE_DATAGRAMS: Final = 100_000
LOWEST_PRIORITY: Final = 19
LOOPBACK_ONLY: Final = Configuration(interface_filter=lambda interface: interface.address == HOST)


# -- what the processes say to each other: one JSON object a line ------------------------------------------------------


def say(**report: object) -> None:
    """Report to the process that has started this one."""
    print(json.dumps(report), flush=True)


async def commands() -> AsyncIterator[dict[str, Any]]:
    """What that process wants."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield json.loads(line)


class Worker:
    """Another process of this program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **members: object) -> dict[str, Any]:
        """Have it do something, and wait until it has."""
        self.tell(do, **members)
        return self.answer()

    def tell(self, do: str, **members: object) -> None:
        """Have it do something; `answer()` waits until it has."""
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **members}), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """What it reports next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args} has ended")
        return dict(json.loads(line))

    def cpu_seconds(self) -> float:
        """What it has used of the processors so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """What it has in memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(*arguments: str, processors: set[int]) -> Iterator[Worker]:
    """Run a worker on some of the processors. It ends with its standard input."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, processors)
        try:
            yield Worker(process)
        finally:
            process.kill()


# -- the server --------------------------------------------------------------------------------------------------------


async def serve(*, own_sockets: bool) -> None:
    """Answer offers that come by a TCP port, and echo what comes by data channels."""
    listen = ListenAddress("udp", HOST), ListenAddress("tcp", HOST)
    async with open_webrtc_server(*listen) as server, trio.open_nursery() as nursery:

        async def answer(stream: trio.SocketStream) -> None:
            lines = Lines(stream)
            async for offer in lines:
                nursery.start_soon(host_peer, server, lines, offer, own_sockets)

        serve_offers = partial(trio.serve_tcp, answer, 0, host=HOST)
        listeners: list[trio.SocketListener] = await nursery.start(serve_offers)
        addresses = {address.transport: address.port for address in server.addresses}
        say(port=listeners[0].socket.getsockname()[1], **addresses)
        async for command in commands():
            match command["do"]:
                case "count":
                    stats = server.get_stats()
                    say(peers=stats.peers, tcp=stats.tcp_connections, refused=dict(stats.tcp_connections_refused))
                case "freeze":
                    gc.freeze()
                    say(done=True)
                case "close":
                    started_at = trio.current_time()
                    await server.aclose()
                    say(seconds=trio.current_time() - started_at)
        nursery.cancel_scope.cancel()


class Lines:
    """Objects, one a line, by a stream; from any number of tasks."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        rest = b""
        async for chunk in self._stream:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    async def send(self, **members: object) -> None:
        """Send one object."""
        async with self._sending:
            await self._stream.send_all(json.dumps(members).encode() + b"\n")


async def host_peer(server: WebRtcServer, lines: Lines, offer: dict[str, Any], own_sockets: bool) -> None:
    """Serve one peer for as long as it stays."""
    scope = open_peer_connection(LOOPBACK_ONLY) if own_sockets else server.open_peer_connection()
    try:
        async with scope as peer:
            await peer.set_remote_description(SessionDescription("offer", offer["sdp"]))
            await peer.set_local_description()
            await peer.wait_gathering_complete()
            assert peer.local_description is not None
            await lines.send(number=offer["number"], sdp=peer.local_description.sdp)
            channel = await peer.incoming_data_channels.receive()
            async for message in channel:
                await channel.send(message)
    except (trio.ClosedResourceError, trio.BrokenResourceError, trio.EndOfChannel):
        pass


# -- visitors ----------------------------------------------------------------------------------------------------------


class Visitor:
    """Some peers in one process, and their one stream for signalling."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.channels: list[Any] = []
        self._lines = Lines(stream)
        self._answers: dict[int, trio.MemorySendChannel[str]] = {}

    async def listen(self) -> None:
        """Give every peer its answer."""
        async for answer in self._lines:
            await self._answers.pop(answer["number"]).send(answer["sdp"])

    async def stay(self, number: int, transport: str, task_status: trio.TaskStatus[None]) -> None:
        """Be one peer with one channel, for as long as this process lives."""
        async with open_peer_connection(LOOPBACK_ONLY) as peer:
            channel = peer.create_data_channel("echo")
            await self._signal(peer, number, transport)
            await channel.wait_open()
            self.channels.append(channel)
            task_status.started()
            await trio.sleep_forever()

    async def connect(self, peers: int, stay_in: trio.Nursery) -> None:
        """Open peers, a few at a time."""

        async def connect_some(numbers: Iterator[int]) -> None:
            for number in numbers:
                await stay_in.start(self.stay, number, "tcp" if number % 2 else "udp")

        numbers = iter(range(peers))
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(connect_some, numbers)

    async def _signal(self, peer: PeerConnection, number: int, transport: str) -> None:
        self._answers[number], answers = trio.open_memory_channel[str](1)
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        assert peer.local_description is not None
        await self._lines.send(number=number, sdp=peer.local_description.sdp)
        lines = (await answers.receive()).split("\r\n")
        kept = [line for line in lines if not line.startswith("a=candidate:") or f" {transport} " in line.lower()]
        await peer.set_remote_description(SessionDescription("answer", "\r\n".join(kept)))

    async def talk(self, seconds: float, interval: float) -> list[float]:
        """Send a message by each channel every so often; the seconds until each came back."""
        round_trips: list[float] = []
        end = trio.current_time() + seconds

        async def talk_by(channel: Any) -> None:
            await trio.sleep(random.uniform(0, interval))
            while (start := trio.current_time()) < end:
                await channel.send(MESSAGE)
                await channel.receive()
                round_trips.append(trio.current_time() - start)
                await trio.sleep(interval)

        async with trio.open_nursery() as nursery:
            for channel in self.channels:
                nursery.start_soon(talk_by, channel)
        return round_trips


@asynccontextmanager
async def visiting(port: int) -> AsyncIterator[Visitor]:
    """A visitor, with its listening task."""
    async with await trio.open_tcp_stream(HOST, port) as stream, trio.open_nursery() as nursery:
        visitor = Visitor(stream)
        nursery.start_soon(visitor.listen)
        yield visitor
        nursery.cancel_scope.cancel()


async def visit(port: int) -> None:
    """Connect peers and talk, as told."""
    async with visiting(port) as visitor, trio.open_nursery() as nursery:
        say(ready=True)
        async for command in commands():
            match command["do"]:
                case "connect":
                    await visitor.connect(command["peers"], nursery)
                    gc.freeze()  # or a round trip may be as long as looking through all of these peers for garbage
                    say(connected=len(visitor.channels))
                case "talk":
                    say(round_trips=await visitor.talk(command["seconds"], command["interval"]))
        nursery.cancel_scope.cancel()


# -- strangers ---------------------------------------------------------------------------------------------------------


async def attack(udp: int, tcp: int) -> None:
    """Open connections that are silent, half open or reset, and send junk, as told; from addresses of their own."""
    os.nice(LOWEST_PRIORITY)  # on a network, strangers would use processors of their own
    say(ready=True)
    async for command in commands():
        rng = random.Random(1)
        junk = [rng.randbytes(60), bytes([22, 254, 253]) + rng.randbytes(80), stun_for_nobody(rng)]
        thrower = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        thrower.bind(("127.0.0.9", 0))
        kept: deque[socket.socket] = deque()
        start = trio.current_time()
        for number in range(STRANGE_CONNECTIONS):
            await trio.sleep_until(start + command["seconds"] * number / STRANGE_CONNECTIONS)
            kept.extend(connect_strangely(number, tcp))
            for _ in range(STRANGE_DATAGRAMS // STRANGE_CONNECTIONS):
                thrower.sendto(rng.choice(junk), (HOST, udp))
            while len(kept) > STRANGE_CONNECTIONS // 2:
                kept.popleft().close()
        say(seconds=trio.current_time() - start)


def connect_strangely(number: int, tcp: int) -> Iterator[socket.socket]:
    """Connect; the connection, if it is to stay open."""
    stranger = socket.socket()
    stranger.bind((f"127.0.1.{1 + number % 200}", 0))
    stranger.connect((HOST, tcp))
    match number % 3:
        case 0:
            yield stranger
        case 1:
            stranger.sendall(b"\x00\x64half of a frame")
            yield stranger
        case _:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stranger.close()


def stun_for_nobody(rng: random.Random) -> bytes:
    """A well-formed check for a name that nobody has."""
    username = b"nobody:else!"
    attributes = struct.pack("!HH", 6, len(username)) + username
    return struct.pack("!HHI", 1, len(attributes), 0x2112A442) + rng.randbytes(12) + attributes


# -- the measurement ---------------------------------------------------------------------------------------------------


def measure(
    peers: int, visitors: int, seconds: float, interval: float, *, freezes: bool, own_sockets: bool
) -> dict[str, str]:
    """Everything, in one run; figures in the order in which they are taken."""
    figures: dict[str, str] = {}
    first, *others = sorted(os.sched_getaffinity(0))
    elsewhere = set(others) or {first}
    with ExitStack() as stack:

        def start(*arguments: str, processors: set[int]) -> Worker:
            return stack.enter_context(started(*arguments, processors=processors))

        server = start("--serve", *(["--own-sockets"] if own_sockets else []), processors={first})
        ports = server.answer()
        workers = [start("--visit", str(ports["port"]), processors=elsewhere) for _ in range(visitors)]
        strangers = start("--attack", str(ports["udp"]), str(ports["tcp"]), processors=elsewhere)
        for worker in (*workers, strangers):
            worker.answer()

        memory, cpu, began = server.resident_bytes(), server.cpu_seconds(), trio_time()
        for worker in workers:
            worker.tell("connect", peers=peers // visitors)
        connected = sum(worker.answer()["connected"] for worker in workers)
        took = trio_time() - began
        figures["peers connected"] = f"{connected:,}"
        figures["connections/s"] = f"{connected / took:,.0f}"
        figures["server's CPU per connection, ms"] = f"{(server.cpu_seconds() - cpu) / connected * 1e3:.1f}"
        figures["memory per peer, kB"] = f"{(server.resident_bytes() - memory) / connected / 1e3:,.0f}"

        if freezes:
            server.ask("freeze")
        cpu = server.cpu_seconds()
        wait(seconds)
        figures["CPU idle, % of a core"] = f"{(server.cpu_seconds() - cpu) / seconds * 100:.1f}"

        figures |= talk(server, workers, seconds, interval, "")
        strangers.tell("go", seconds=seconds)
        figures |= talk(server, workers, seconds, interval, " under attack")
        lasted = strangers.answer()["seconds"]
        figures["strangers' connections/s"] = f"{STRANGE_CONNECTIONS / lasted:,.0f}"
        figures["strangers' datagrams/s"] = f"{STRANGE_DATAGRAMS / lasted:,.0f}"
        counted = server.ask("count")
        figures["strangers turned away"] = f"{sum(counted['refused'].values()):,}"
        figures["peers after the attack"] = f"{counted['peers']:,}"
        figures["all peers closed in, s"] = f"{server.ask('close')['seconds']:.2f}"
    return figures


def talk(server: Worker, workers: list[Worker], seconds: float, interval: float, when: str) -> dict[str, str]:
    """Have every peer send every so often, and see what it costs."""
    cpu = server.cpu_seconds()
    for worker in workers:
        worker.tell("talk", seconds=seconds, interval=interval)
    round_trips = sorted(trip for worker in workers for trip in worker.answer()["round_trips"])
    used = server.cpu_seconds() - cpu
    return {
        f"messages echoed/s{when}": f"{len(round_trips) / seconds:,.0f}",
        f"CPU{when}, % of a core": f"{used / seconds * 100:.0f}",
        f"round trip{when}, ms": f"{statistics.median(round_trips) * 1e3:.2f}",
        f"95 of 100{when}, ms": f"{round_trips[len(round_trips) * 95 // 100] * 1e3:.2f}",
        f"99 of 100{when}, ms": f"{round_trips[len(round_trips) * 99 // 100] * 1e3:.2f}",
    }


def trio_time() -> float:
    """Seconds on a clock that only goes forward."""
    return float(os.times().elapsed)


def wait(seconds: float) -> None:
    """Let time pass."""
    trio.run(trio.sleep, seconds)


def main() -> None:
    """Be whichever of the processes is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", type=int, default=1_000)
    parser.add_argument("--visitors", type=int, default=2, help="processes that visit")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each state is watched")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds from one message of a peer to its next")
    parser.add_argument("--freeze", action="store_true", help="have the server call gc.freeze() once all are connected")
    parser.add_argument("--own-sockets", action="store_true", help="measure sockets of each peer's own besides")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--visit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--attack", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(lambda: serve(own_sockets=arguments.own_sockets))
    elif arguments.visit is not None:
        trio.run(visit, arguments.visit)
    elif arguments.attack is not None:
        trio.run(attack, *arguments.attack)
    else:
        kinds = {"shared ports": False, **({"a socket for each peer": True} if arguments.own_sockets else {})}
        columns = {
            name: measure(
                arguments.peers,
                arguments.visitors,
                arguments.seconds,
                arguments.interval,
                freezes=arguments.freeze,
                own_sockets=own,
            )
            for name, own in kinds.items()
        }
        print(f"| | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
        for row in next(iter(columns.values())):
            print(f"| {row} | {' | '.join(column[row] for column in columns.values())} |")


if __name__ == "__main__":
    main()
