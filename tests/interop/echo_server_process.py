"""The echo server example in a process of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .example_process import EXAMPLES, ExampleProcess, open_example, wait_for_url

__all__ = ["EXAMPLES", "EchoServerProcess", "open_echo_server"]


@dataclass(frozen=True)
class EchoServerProcess:
    """A running server: the addresses of its page and of its signalling, and the program itself."""

    url: str
    signalling_url: str
    program: ExampleProcess

    async def wait_printed(self, words: str) -> str:
        return await self.program.wait_printed(words)

    async def interrupt(self) -> tuple[int, str]:
        return await self.program.interrupt()


@asynccontextmanager
async def open_echo_server() -> AsyncIterator[EchoServerProcess]:
    """Start the example on free ports; kill it, if it still runs, when the scope is left."""
    async with open_example("echo_server.py", "--port", "0", "--signalling-port", "0") as program:
        url = await wait_for_url(program)
        greeting = await program.wait_printed("")
        signalling_url = greeting.split("signalling at ")[1].split()[0].removesuffix(".")
        yield EchoServerProcess(url, signalling_url, program)
