"""Another WebRTC stack in a process of its own, spoken to by the line protocol of `peers/README.md`."""

import base64
import json
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from trio_webrtc import SessionDescription

PATIENCE = 20.0
"""Seconds within which any event is expected to come."""
LEAVING_TIME = 3.0
"""Seconds that a peer has for ending by itself when its input ends."""


class PeerEndedError(AssertionError):
    """The other stack's program has ended by itself."""


class PeerProcess:
    """Tells the other stack what to do, and waits for what it reports."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._unread: deque[dict[str, Any]] = deque()
        self._pending = bytearray()

    async def tell(self, do: str, **members: Any) -> None:
        """Send one command."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": do, **members}).encode() + b"\n")

    async def event(self, kind: str, **expected: Any) -> dict[str, Any]:
        """The first event not yet taken that is of this kind and has these members; others stay for later."""
        try:
            with trio.fail_after(PATIENCE):
                while True:
                    for event in self._unread:
                        if event["event"] == kind and expected.items() <= event.items():
                            self._unread.remove(event)
                            return event
                    await self._read_line()
        except trio.TooSlowError:
            raise AssertionError(f"no {kind!r} with {expected} came, only {list(self._unread)}") from None

    async def description(self) -> SessionDescription:
        """What the other stack offers or answers."""
        return SessionDescription.from_dict(await self.event("description"))

    async def send(self, label: str, message: str | bytes) -> None:
        """Let the other stack send a message."""
        if isinstance(message, str):
            await self.tell("send", label=label, text=message)
        else:
            await self.tell("send", label=label, binary=base64.b64encode(message).decode())

    async def receive(self, label: str) -> str | bytes:
        """The next message that reached the other stack on this channel."""
        return _content(await self.event("message", label=label))

    async def receive_until_closed(self, label: str) -> list[str | bytes]:
        """All that reached the other stack on this channel before it closed, and was not taken yet."""
        await self.event("closed", label=label)
        return [_content(event) for event in self._unread if event["event"] == "message" and event["label"] == label]

    async def _read_line(self) -> None:
        assert self._process.stdout is not None
        while (end := self._pending.find(b"\n")) < 0:
            if not (some := await self._process.stdout.receive_some()):
                raise PeerEndedError(f"the peer ended (exit code {await self._process.wait()}); see its errors above")
            self._pending += some
        self._unread.append(json.loads(self._pending[:end]))
        del self._pending[: end + 1]


def _content(message: Mapping[str, Any]) -> str | bytes:
    return message["text"] if "text" in message else base64.b64decode(message["binary"])


@asynccontextmanager
async def open_peer_process(command: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[PeerProcess]:
    """Start a peer; when the scope is left, end its input, then end it."""
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environment)
    )
    try:
        yield PeerProcess(process)
    finally:
        with trio.move_on_after(LEAVING_TIME, shield=True) as leaving:
            assert process.stdin is not None
            await process.stdin.aclose()
            await process.wait()
        if leaving.cancelled_caught:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()
