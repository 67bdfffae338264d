"""A core without a protocol: it says what a test tells it to, and remembers what it is told."""

from collections import deque
from collections.abc import Callable, Sequence

from trio_webrtc.core.contract import Address, Received, TimerTable, Transmit, Via, split_run

GOODBYES = (b"ABORT", b"close_notify")


class RecordingCore:
    """Fulfils PathCore and GatheringCore."""

    def __init__(self, *, goodbyes: Sequence[bytes] = GOODBYES) -> None:
        self.closed = False
        self.bases: list[tuple[Via, Address, int, tuple[str, ...]]] = []
        self.stun_servers: list[Address] = []
        self.bases_ended = False
        self.received: list[bytes] = []
        self.fired: list[float] = []
        self.send_errors: list[tuple[Via, Address, str]] = []
        self.lowered: list[tuple[Via, Address]] = []
        self.retired: list[Via] = []
        self.delivered = 0
        self.timers: TimerTable[str] = TimerTable()
        self.bug_in: str | None = None
        self.on_receive: Callable[[], None] = lambda: None
        self.on_call: Callable[[], None] = lambda: None
        self._goodbyes = goodbyes
        self._transmits: deque[Transmit] = deque()
        self._checks: deque[Transmit] = deque()
        self._way: tuple[Via, Address] | None = None

    def connect(self, via: Via, peer: Address) -> None:
        self._way = via, peer

    def say(self, data: bytes, segment_size: int | None = None) -> None:
        via, peer = self._way
        self._transmits.append(Transmit(via, peer, data, segment_size))

    def say_to(self, via: Via, to: Address, data: bytes) -> None:
        self._transmits.append(Transmit(via, to, data))

    def check(self, via: Via, to: Address, data: bytes) -> None:
        self._checks.append(Transmit(via, to, data))

    def deliver(self) -> None:
        self._may_fail("deliver")
        self.delivered += 1

    def _may_fail(self, where: str) -> None:
        self.on_call()
        if self.bug_in == where:
            raise ZeroDivisionError(f"a bug in {where}")

    # PathCore

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        self._may_fail("receive_datagrams")
        for run in batch:
            self.received += split_run(run.data, run.segment_size)
        self.on_receive()

    def handle_timeout(self, now: float) -> None:
        self._may_fail("handle_timeout")
        self.fired += [now for _ in self.timers.pop_expired(now)]

    def poll_transmits(self, now: float) -> Transmit | None:
        self._may_fail("poll_transmits")
        return self.poll_checks(now) or (self._transmits.popleft() if self._transmits else None)

    def poll_checks(self, now: float) -> Transmit | None:
        return self._checks.popleft() if self._checks else None

    def uses(self, via: Via) -> bool:
        return self._way is not None and self._way[0] == via

    def next_timeout(self) -> float | None:
        self._may_fail("next_timeout")
        return self.timers.earliest()

    def close(self, now: float) -> None:
        self._may_fail("close")
        if not self.closed:
            self.closed = True
            self.timers.clear()
            if self._way is not None:
                for goodbye in self._goodbyes:
                    self.say(goodbye)

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        self.send_errors.append((via, to, error))

    def lower_mtu(self, via: Via, to: Address, now: float) -> None:
        self.lowered.append((via, to))

    def retire(self, via: Via, now: float) -> None:
        self.retired.append(via)

    # GatheringCore

    def add_local_base(
        self, via: Via, address: Address, *, local_preference: int, announced: Sequence[str], now: float
    ) -> None:
        self._may_fail("add_local_base")
        self.bases.append((via, address, local_preference, tuple(announced)))

    def add_stun_server(self, server: Address, now: float) -> None:
        self.stun_servers.append(server)

    def end_of_local_bases(self, now: float) -> None:
        self.bases_ended = True
