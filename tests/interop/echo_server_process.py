"""The echo server example in a process of its own, as a reader of the README would start it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
STARTING_TIME = 20.0


class EchoServerProcess:
    """A running server: the addresses of its page and of its signalling, and what it prints."""

    def __init__(self, process: trio.Process) -> None:
        self.url = ""
        self.signalling_url = ""
        self._process = process
        self._printed = b""

    async def wait_printed(self, words: str) -> str:
        """Everything printed so far, as soon as `words` are among it."""
        while words.encode() not in self._printed:
            if not await self._read():
                raise AssertionError(f"the server ended without printing {words!r}:\n{self._printed.decode()}")
        return self._printed.decode()

    async def interrupt(self) -> tuple[int, str]:
        """Do as Ctrl-C does; gives the exit code and everything printed."""
        self._process.send_signal(signal.SIGINT)
        while await self._read():
            pass
        return await self._process.wait(), self._printed.decode()

    async def _read(self) -> bool:
        assert self._process.stdout is not None
        some = await self._process.stdout.receive_some()
        self._printed += some
        return bool(some)


@asynccontextmanager
async def open_echo_server() -> AsyncIterator[EchoServerProcess]:
    """Start the example on a free port; kill it, if it still runs, when the scope is left."""
    process = await trio.lowlevel.open_process(
        [sys.executable, str(EXAMPLES / "echo_server.py"), "--port", "0", "--signalling-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        server = EchoServerProcess(process)
        with trio.fail_after(STARTING_TIME):
            greeting = await server.wait_printed(" in a browser")
        server.signalling_url = greeting.split("signalling at ")[1].split()[0].removesuffix(".")
        server.url = greeting.split("Open ")[1].split()[0]
        yield server
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
