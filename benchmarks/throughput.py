"""What trio-webrtc costs beside other WebRTC stacks: throughput, small messages, round trips, memory, connecting.

    python benchmarks/throughput.py [--seconds S] [--runs N] [--pairs N] [STACK ...]

Prints a table in Markdown. `README.md` in this folder says what it shows and what it does not.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

STACKS: Final = Path(__file__).parent / "stacks"
OURS: Final = "trio-webrtc"
LARGE: Final = 16_384
"""Bytes that every stack takes in one message, and many applications send."""
SMALL: Final = 64
PINGS: Final = 1_000
PATIENCE: Final = 120.0
"""Seconds within which any event is expected to come."""


class Stack:
    """A stack in a process of its own, spoken to by the line protocol of `stacks/README.md`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.name = str(self.wait_for("ready")["name"])

    def tell(self, do: str, **members: object) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        print(json.dumps({"do": do, **members}), file=self._process.stdin, flush=True)

    def wait_for(self, event: str) -> dict[str, Any]:
        """Skip what it reports, up to this event."""
        assert self._process.stdout is not None
        out_of_patience = threading.Timer(PATIENCE, self._process.kill)
        out_of_patience.start()
        try:
            for line in self._process.stdout:
                if (report := json.loads(line))["event"] == event:
                    return dict(report)
        finally:
            out_of_patience.cancel()
        raise RuntimeError(f"{self._process.args} ended before it said {event!r}")

    def cpu_seconds(self) -> float:
        """What the process has used of the processors so far, all threads together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """What the process has in memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def started(command: Sequence[str]) -> Iterator[Stack]:
    """Run a stack. It ends with its standard input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Stack(process)
            process.communicate(timeout=10)
        finally:
            process.kill()


def available() -> dict[str, Sequence[str]]:
    """The stacks that there are on this machine, and how to start them."""
    pythons = [os.environ.get("TRIO_WEBRTC_PEER_PYTHON"), "python3.14", "python3.13", "python3.12", sys.executable]
    candidates = [(OURS, [sys.executable, "-c", "import trio_webrtc"], "trio_webrtc_stack.py")]
    candidates += [("aiortc", [sys.executable, "-c", "import aiortc"], "aiortc_stack.py")]
    candidates += [
        ("libdatachannel-py", [python, "-c", "import libdatachannel"], "libdatachannel_stack.py")
        for python in pythons
        if python is not None
    ]
    candidates += [("node-datachannel", ["node", "-e", "require('node-datachannel')"], "node_datachannel_stack.mjs")]
    found: dict[str, Sequence[str]] = {}
    for name, (program, *probe), script in candidates:
        path = shutil.which(program)
        if name not in found and path and subprocess.run([path, *probe], capture_output=True).returncode == 0:
            found[name] = (path, str(STACKS / script))
    return found


# -- two processes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One channel used as fast as it goes, in one direction."""

    bytes_per_second: float
    messages_per_second: float
    sender_cpu: float
    receiver_cpu: float
    """CPU seconds per gigabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What one sender and one receiver do together."""

    large: Flow
    small: Flow
    round_trip: float
    slow_round_trip: float
    """Seconds: the median, and what 95 of 100 do not exceed."""


def measure_transfer(sender: Sequence[str], receiver: Sequence[str], seconds: float) -> Transfer:
    """Connect two processes, and use their channel in each way."""
    with ExitStack() as processes:
        left = processes.enter_context(started(sender))
        right = processes.enter_context(started(receiver))
        left.tell("offer")
        right.tell("answer", sdp=left.wait_for("description")["sdp"])
        left.tell("accept", sdp=right.wait_for("description")["sdp"])
        left.wait_for("open")
        measure_flow(left, right, LARGE, seconds / 5)  # warms up
        large, small = (measure_flow(left, right, size, seconds) for size in (LARGE, SMALL))
        left.tell("ping", count=PINGS)
        round_trips = left.wait_for("pinged")["seconds"]
        return Transfer(
            large=large,
            small=small,
            round_trip=statistics.median(round_trips),
            slow_round_trip=statistics.quantiles(round_trips, n=20)[-1],
        )


def measure_flow(sender: Stack, receiver: Stack, size: int, seconds: float) -> Flow:
    """Have messages of one size sent for a while."""
    before = sender.cpu_seconds(), receiver.cpu_seconds()
    sender.tell("send", size=size, seconds=seconds)
    report = receiver.wait_for("received")
    gigabytes = report["bytes"] / 1e9
    return Flow(
        bytes_per_second=report["bytes"] / report["seconds"],
        messages_per_second=report["messages"] / report["seconds"],
        sender_cpu=(sender.cpu_seconds() - before[0]) / gigabytes,
        receiver_cpu=(receiver.cpu_seconds() - before[1]) / gigabytes,
    )


# -- many connections in one process ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Many connections of one process with itself."""

    name: str
    seconds_alone: float
    """From nothing to an open channel, one pair at a time; the median."""
    pairs_per_second: float
    """All at once."""
    bytes_per_connection: float


def measure_crowd(command: Sequence[str], pairs: int) -> Crowd:
    """Connect a few pairs one after the other, then many at once."""
    with started(command) as stack:
        alone = []
        for _ in range(10):
            stack.tell("connect", pairs=1)
            alone.append(stack.wait_for("connected")["seconds"])
        before = stack.resident_bytes()
        stack.tell("connect", pairs=pairs)
        seconds = stack.wait_for("connected")["seconds"]
        return Crowd(
            name=stack.name,
            seconds_alone=statistics.median(alone),
            pairs_per_second=pairs / seconds,
            bytes_per_connection=(stack.resident_bytes() - before) / (2 * pairs),
        )


# -- the table -------------------------------------------------------------------------------------------------------


def best_transfer(runs: Sequence[Transfer]) -> Transfer:
    """The best of each figure: on a machine with other work, the worse ones measure that."""
    return Transfer(
        large=_best_flow([run.large for run in runs]),
        small=_best_flow([run.small for run in runs]),
        round_trip=min(run.round_trip for run in runs),
        slow_round_trip=min(run.slow_round_trip for run in runs),
    )


def _best_flow(flows: Sequence[Flow]) -> Flow:
    return Flow(
        bytes_per_second=max(flow.bytes_per_second for flow in flows),
        messages_per_second=max(flow.messages_per_second for flow in flows),
        sender_cpu=min(flow.sender_cpu for flow in flows),
        receiver_cpu=min(flow.receiver_cpu for flow in flows),
    )


def best_crowd(runs: Sequence[Crowd]) -> Crowd:
    """The best of each figure."""
    return Crowd(
        name=runs[0].name,
        seconds_alone=min(run.seconds_alone for run in runs),
        pairs_per_second=max(run.pairs_per_second for run in runs),
        bytes_per_connection=min(run.bytes_per_connection for run in runs),
    )


Column = tuple[str, Callable[[Any], float], str]
"""The heading, the figure, and how to write it."""

TRANSFER_COLUMNS: Final[Sequence[Column]] = (
    ("MB/s", lambda it: it.large.bytes_per_second / 1e6, ".1f"),
    ("sender, CPU s/GB", lambda it: it.large.sender_cpu, ".1f"),
    ("receiver, CPU s/GB", lambda it: it.large.receiver_cpu, ".1f"),
    (f"{SMALL}-byte messages/s", lambda it: it.small.messages_per_second, ",.0f"),
    ("round trip, ms", lambda it: it.round_trip * 1e3, ".2f"),
    ("95 of 100, ms", lambda it: it.slow_round_trip * 1e3, ".2f"),
)
CROWD_COLUMNS: Final[Sequence[Column]] = (
    ("one pair connects in, ms", lambda it: it.seconds_alone * 1e3, ".0f"),
    ("pairs/s, all at once", lambda it: it.pairs_per_second, ".1f"),
    ("memory per connection, kB", lambda it: it.bytes_per_connection / 1e3, ".0f"),
)


def print_table(title: str, columns: Sequence[Column], rows: dict[str, Any], reference: str) -> None:
    """Print figures and, in brackets, how they stand to those of the reference's row."""
    print(f"\n| {title} | " + " | ".join(heading for heading, _, _ in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, row in rows.items():
        cells = []
        for _, figure, form in columns:
            ratio = figure(row) / figure(rows[reference]) if reference in rows and name != reference else None
            cells.append(format(figure(row), form) + (f" (×{ratio:.2g})" if ratio is not None else ""))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measure the stacks that were asked for, or all; each with itself, and ours with each."""
    parser = argparse.ArgumentParser(description="Measure WebRTC stacks side by side, over loopback.")
    parser.add_argument("stacks", nargs="*", metavar="STACK", help="which; default: all that are installed")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each flow lasts (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="how often; the best counts (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=50, help="connections made at once (default: %(default)s)")
    arguments = parser.parse_args()
    commands = {
        name: command for name, command in available().items() if not arguments.stacks or name in arguments.stacks
    }
    pairs = [(name, name) for name in commands]
    if OURS in commands:
        pairs += [pair for name in commands if name != OURS for pair in ((OURS, name), (name, OURS))]

    # Runs take turns, so that whatever else the machine does falls on every stack alike.
    transfers: dict[str, list[Transfer]] = {}
    crowds: dict[str, list[Crowd]] = {}
    for _ in range(arguments.runs):
        for sender, receiver in pairs:
            found = measure_transfer(commands[sender], commands[receiver], arguments.seconds)
            transfers.setdefault(f"{sender} → {receiver}", []).append(found)
        for name, command in commands.items():
            crowds.setdefault(name, []).append(measure_crowd(command, arguments.pairs))
    crowd_rows = {name: best_crowd(runs) for name, runs in crowds.items()}
    print("; ".join(row.name for row in crowd_rows.values()))
    transfer_rows = {title: best_transfer(runs) for title, runs in transfers.items()}
    print_table("sender → receiver", TRANSFER_COLUMNS, transfer_rows, f"{OURS} → {OURS}")
    print_table("stack", CROWD_COLUMNS, crowd_rows, OURS)


if __name__ == "__main__":
    main()
