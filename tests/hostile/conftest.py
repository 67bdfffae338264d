"""A peer that says what it should not, its victim, and two bystanders in the same process."""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from trio_webrtc import Configuration, DataChannel, PeerConnection

from ..surface.conftest import World, make_world, world
from .intruder import Intruder

__all__ = ["make_world", "world"]


@dataclass
class Scene:
    """An intruder that is connected to a victim; both ends of an open channel; the victim's other tasks are tests'."""

    world: World
    intruder: Intruder
    victim: PeerConnection
    near: DataChannel
    """The intruder's end."""
    far: DataChannel
    """The victim's end."""


OpenScene = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture
def open_scene(world: World) -> OpenScene:
    """Opens a scene, and asserts at its end that the bystanders have noticed nothing."""
    bystanders = World(
        world.network, world.network.add_host("10.0.1.1", "fd00:1::1"), world.network.add_host("10.0.1.2", "fd00:1::2")
    )

    @asynccontextmanager
    async def open_scene(victim: Configuration | None = None) -> AsyncIterator[Scene]:
        world.network.log = deque(maxlen=1000)  # floods are not to be remembered
        async with bystanders.meet() as (one, other, near, far), trio.open_nursery() as nursery:
            heard: list[str | bytes] = []

            async def chat() -> None:
                while True:
                    await near.send("all quiet")
                    heard.append(await far.receive())
                    await trio.sleep(1)

            nursery.start_soon(chat)
            async with world.meet(right=victim) as (caller, callee, mine, theirs):
                yield Scene(world, Intruder(caller), callee, mine, theirs)
            said = len(heard)
            with trio.fail_after(3):
                await trio.sleep(1.5)
            assert len(heard) > said
            assert one.connection_state == other.connection_state == "connected"
            nursery.cancel_scope.cancel()

    return open_scene
