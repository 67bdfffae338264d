"""A packetdrill script: at these times, these socket calls are made, these packets arrive, and these must have left."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .notation import Item, read_packet

DEFAULT_TOLERANCE = 0.004

_EVENT = re.compile(r"\s*(\+\s*[\d.]+|[\d.]+|\*)\s+(.*)", re.DOTALL)
_PACKET = re.compile(r"([<>])\s+(?:\S+ > \S+ )?sctp(?:\((.*?)\))?:\s*(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\)\s*=\s*(-?\d+)", re.DOTALL)


@dataclass(frozen=True)
class Packet:
    """One that is injected, or one that is expected."""

    outbound: bool
    chunks: list[Item] | bytes
    tag: int | None = None
    """The verification tag, where it is not to be the right one."""
    bad_checksum: bool = False


@dataclass(frozen=True)
class Call:
    """A socket call, and what it must return. Its arguments stay text: few of them matter."""

    name: str
    arguments: str
    result: int

    @property
    def socket(self) -> int:
        return int(self.arguments.partition(",")[0])

    @property
    def size(self) -> int:
        return int(self.arguments.rpartition(",")[2])

    @property
    def members(self) -> dict[str, int]:
        """What the members of a struct are set to."""
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", self.arguments)}


@dataclass(frozen=True)
class Event:
    """What happens `pause` seconds after the last event; None stands for any time."""

    text: str
    pause: float | None
    what: Packet | Call


@dataclass
class Script:
    """The events as they are meant for one operating system, for some differ."""

    tolerance: float = DEFAULT_TOLERANCE
    events: list[Event] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, system: str) -> "Script":
        script = cls()
        for text in _statements(path.read_text(), system):
            if tolerance := re.fullmatch(r"--tolerance_usecs=(\d+)", text):
                script.tolerance = int(tolerance[1]) / 1_000_000
            elif (event := _EVENT.fullmatch(text)) and not event[2].startswith("`"):
                pause = None if event[1] == "*" else float(event[1].lstrip("+ "))
                script.events.append(Event(text, pause, _action(event[2])))
        return script


def _statements(text: str, system: str) -> Iterator[str]:
    """Statements that may run over several lines, without comments and what is for other systems."""
    statement, skipping = "", False
    for line in re.sub(r"\s*//.*", "", text).splitlines():
        if line.startswith("#"):
            skipping = line.startswith("#ifdef") and line.split()[1] != system
        elif not skipping and line.strip():
            if statement and (_EVENT.match(line) or line.startswith("--")):
                yield statement
                statement = ""
            statement += line + " "
    yield statement


def _action(text: str) -> Packet | Call:
    if packet := _PACKET.fullmatch(text):
        direction, options, chunks = packet.groups(default="")
        tag = re.search(r"tag=(\d+)", options)
        return Packet(
            direction == ">", read_packet(chunks), int(tag[1]) if tag else None, bad_checksum="bad_crc32c" in options
        )
    call = _CALL.match(text)
    assert call is not None, f"neither a packet nor a call: {text}"
    return Call(call[1], call[2], int(call[3]))
