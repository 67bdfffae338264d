"""A program of examples/ in a process of its own, as a reader would start it."""

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


class ExampleProcess:
    """A running program: what it prints, and what is typed."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._printed = b""

    async def wait_printed(self, words: str) -> str:
        """Everything printed so far, as soon as `words` are among it."""
        while words.encode() not in self._printed:
            if not await self._read():
                raise AssertionError(f"the program ended without printing {words!r}:\n{self._printed.decode()}")
        return self._printed.decode()

    async def type_line(self, line: str) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{line}\n".encode())

    async def end_of_typing(self) -> tuple[int, str]:
        """Do as Ctrl-D does; gives the exit code and everything printed."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        return await self._wait_ended()

    async def interrupt(self) -> tuple[int, str]:
        """Do as Ctrl-C does; gives the exit code and everything printed."""
        self._process.send_signal(signal.SIGINT)
        return await self._wait_ended()

    async def _wait_ended(self) -> tuple[int, str]:
        while await self._read():
            pass
        return await self._process.wait(), self._printed.decode()

    async def _read(self) -> bool:
        assert self._process.stdout is not None
        some = await self._process.stdout.receive_some()
        self._printed += some
        return bool(some)


@asynccontextmanager
async def open_example(name: str, *arguments: str) -> AsyncIterator[ExampleProcess]:
    """Start a program; kill it, if it still runs, when the scope is left."""
    process = await trio.lowlevel.open_process(
        [sys.executable, str(EXAMPLES / name), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield ExampleProcess(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def wait_for_url(program: ExampleProcess) -> str:
    """Wait until a server says at which address to open its page."""
    with trio.fail_after(STARTING_TIME):
        greeting = await program.wait_printed("Ctrl-C ")
    return greeting.split("Open ")[1].split()[0]
