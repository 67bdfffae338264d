"""Peers that signal public names instead of addresses: what is looked up for them, and what it may cost."""

import pytest
import trio

from trio_webrtc import Configuration, IceCandidate, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.shell.lookups import LOOKUP_TIMEOUT, MAX_WAITING_NAMES
from trio_webrtc.testing import VirtualHost, VirtualNetwork

from .quiescence import nothing_stays_behind

NAME = "rtc.example.org"


class Resolver:
    """A host's network whose look-ups are written down, and may take their time."""

    def __init__(self, host: VirtualHost) -> None:
        self._host = host
        self.asked: list[str] = []
        self.asking = self.most_at_once = 0
        self.slow: set[str] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._host, name)

    async def resolve(self, host: str, port: int, *, limiter: trio.CapacityLimiter):
        self.asked.append(host)
        self.asking += 1
        self.most_at_once = max(self.asking, self.most_at_once)
        try:
            if host in self.slow:
                await trio.sleep_forever()
            return await self._host.resolve(host, port, limiter=limiter)
        finally:
            self.asking -= 1


class Pair:
    """Two hosts; the right one has a name."""

    def __init__(self) -> None:
        network = VirtualNetwork(seed=1, latency=0.02)
        self.left = Resolver(network.add_host("10.0.0.1"))
        self.right = network.add_host("10.0.0.2", "fd00::2", name=NAME)


@pytest.fixture
async def pair() -> Pair:
    return Pair()


def calling_it(description: SessionDescription, *names: str) -> SessionDescription:
    """The description with candidates that have these names in the place of addresses."""
    lines = []
    for line in description.sdp.split("\r\n"):
        if not line.startswith("a=candidate:"):
            lines.append(line)
        elif " 10.0.0.2 " in line and " udp " in line:
            lines += [line.replace(" 10.0.0.2 ", f" {name} ") for name in names]
    return SessionDescription(description.type, "\r\n".join(lines))


async def agree(near: PeerConnection, far: PeerConnection, *names: str) -> None:
    """Near offers; what it learns of far is names. Far learns nothing of near, and cannot come by itself."""
    await near.set_local_description()
    await near.wait_gathering_complete()
    offer = near.local_description
    lines = [line for line in offer.sdp.split("\r\n") if not line.startswith("a=candidate:")]
    await far.set_remote_description(SessionDescription("offer", "\r\n".join(lines)))
    await far.set_local_description()
    await far.wait_gathering_complete()
    await near.set_remote_description(calling_it(far.local_description, *names))


def open_pair(pair: Pair, configuration: Configuration | None = None):
    return open_peer_connection(configuration, network=pair.left), open_peer_connection(network=pair.right)


async def test_a_peer_is_reached_by_its_name(pair: Pair, autojump_clock):
    opening, opening_too = open_pair(pair)
    async with opening as near, opening_too as far:
        channel = near.create_data_channel("chat")
        await agree(near, far, NAME)
        with trio.fail_after(2):
            await channel.wait_open()
        assert near.selected_candidate_pair.remote.host == "10.0.0.2"
    assert pair.left.asked == [NAME]


async def test_a_name_that_comes_later_is_looked_up_as_well(pair: Pair, autojump_clock):
    opening, opening_too = open_pair(pair)
    async with opening as near, opening_too as far:
        channel = near.create_data_channel("chat")
        await agree(near, far)
        lines = [candidate.candidate async for candidate in far.local_candidates()]
        (line,) = [line for line in lines if " 10.0.0.2 " in line and " udp " in line]
        await near.add_ice_candidate(IceCandidate(line.replace(" 10.0.0.2 ", f" {NAME} "), sdp_mid="0"))
        with trio.fail_after(2):
            await channel.wait_open()


async def test_names_are_looked_up_one_at_a_time_and_no_more_than_a_few_wait(pair: Pair, autojump_clock):
    opening, opening_too = open_pair(pair)
    async with opening as near, opening_too as far:
        near.create_data_channel("chat")
        names = [f"host{number}.example.org" for number in range(30)]
        await agree(near, far, *names, names[0], names[0].upper())
        await trio.sleep(10)
    assert pair.left.asked == names[:MAX_WAITING_NAMES]
    assert pair.left.most_at_once == 1


async def test_the_first_name_that_takes_too_long_is_the_last(pair: Pair, autojump_clock):
    """Each of them could hold a thread for as long as the system is patient."""
    pair.left.slow.add("slow.example.org")
    opening, opening_too = open_pair(pair)
    async with opening as near, opening_too as far:
        near.create_data_channel("chat")
        await agree(near, far, "slow.example.org", NAME)
        await trio.sleep(LOOKUP_TIMEOUT - 0.1)
        assert pair.left.asking == 1
        await trio.sleep(0.2)
        assert pair.left.asking == 0
        await agree(near, far, "another.example.org")
        await trio.sleep(LOOKUP_TIMEOUT)
    assert pair.left.asked == ["slow.example.org"]


async def test_a_lookup_holds_up_neither_the_connection_nor_its_end(pair: Pair, autojump_clock):
    pair.left.slow.add("slow.example.org")

    async def run() -> None:
        opening, opening_too = open_pair(pair)
        async with opening as near, opening_too as far:
            channel = near.create_data_channel("chat")
            await agree(near, far, "slow.example.org", "10.0.0.2")
            with trio.fail_after(1):
                await channel.wait_open()
            assert pair.left.asking == 1
            with trio.fail_after(1):
                await near.aclose()
            assert pair.left.asking == 0

    with nothing_stays_behind():
        await run()


@pytest.mark.parametrize(
    "name",
    ["printer.office.local", "printer.office.LOCAL.", "10.0.0.256", "127.1", "-", "a..b"],
)
async def test_what_is_no_public_name_is_not_looked_up(pair: Pair, autojump_clock, name: str):
    opening, opening_too = open_pair(pair)
    async with opening as near, opening_too as far:
        near.create_data_channel("chat")
        await agree(near, far, name)
        await trio.sleep(1)
    assert pair.left.asked == []


@pytest.mark.parametrize(
    "configuration", [Configuration(resolve_names=False), Configuration(ice_lite=True)], ids=["off", "lite"]
)
async def test_nobody_is_asked_if_the_application_says_so_or_the_agent_is_lite(
    pair: Pair, autojump_clock, configuration
):
    opening, opening_too = open_pair(pair, configuration)
    async with opening as near, opening_too as far:
        near.create_data_channel("chat")
        await agree(near, far, NAME, "printer.local")
        await trio.sleep(1)
    assert pair.left.asked == []
