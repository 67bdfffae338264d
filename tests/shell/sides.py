"""What a path stands between in its tests: a virtual network, and connections that have room or not."""

import trio

from trio_webrtc.shell.path import Path, open_path
from trio_webrtc.testing import DatagramSent, SocketClosed, VirtualNetwork

from .recording_core import RecordingCore


class Side:
    """One peer on a virtual network of two hosts: its core, path and port, and what others see of it."""

    def __init__(self, network: VirtualNetwork, host, core: RecordingCore) -> None:
        self.network, self.host, self.core = network, host, core
        self.peer = network.add_host("10.0.0.99").open_udp(("10.0.0.99", 9))
        self.path: Path | None = None

    def open(self, close_timeout: float = 1.0):
        return open_path(Path(self.core, deliver=self.core.deliver, close_timeout=close_timeout))

    @trio.lowlevel.enable_ki_protection
    def use(self, path: Path) -> None:
        self.path = path
        self.port = path.add_socket(self.host.open_udp((self.host.addresses[0], 0)))
        self.core.connect(self.port.via(), self.peer.local_address)

    def say(self, data: bytes, segment_size: int | None = None) -> None:
        self.core.say(data, segment_size)
        self.path.touched()

    @property
    def wire(self) -> list[bytes | str]:
        """What this side did, as others see it."""
        story = []
        for entry in self.network.log:
            match entry:
                case DatagramSent(from_=(host, _), data=data) if host in self.host.addresses:
                    story.append(data)
                case SocketClosed(address=(host, _)) if host in self.host.addresses:
                    story.append("socket closed")
        return story


def make_side(core: RecordingCore | None = None) -> Side:
    network = VirtualNetwork(seed=1)
    return Side(network, network.add_host("10.0.0.1"), core or RecordingCore())


class Stream:
    """A connection that has room or not, and keeps what it takes."""

    def __init__(self, *, has_room: bool, may_wait: bool = False) -> None:
        self.has_room = has_room
        self.may_wait = may_wait
        self.taken: list[bytes] = []
        self.waiting: list[Path] = []
        self.is_closed = False

    async def serve(self, receiver) -> None:
        await trio.sleep_forever()

    async def finish(self) -> None:
        await trio.lowlevel.checkpoint()

    def send(self, run) -> int:
        if not self.has_room:
            return 0
        self.taken.append(run.data)
        return len(run.data)

    def queue_for_room(self, sender) -> None:
        self.waiting.append(sender)

    def leave_queue(self, sender) -> None:
        if sender in self.waiting:
            self.waiting.remove(sender)

    async def wait_for_room(self) -> None:
        if self.may_wait:
            await trio.sleep_forever()
        raise trio.ClosedResourceError

    def close(self) -> None:
        self.is_closed = True
