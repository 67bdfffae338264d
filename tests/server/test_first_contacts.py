"""First contacts in the hands of strangers: one name is one of them, and what is wrong with it harms nobody else."""

import datetime
import random
import re

import pytest
import trio

from trio_webrtc import (
    Certificate,
    Configuration,
    FirstContact,
    PeerConnection,
    ServerLimits,
    UsageError,
    WebRtcServer,
    first_contact,
)
from trio_webrtc.core.contract import Received
from trio_webrtc.first_contact import FORMER_NAME_LIFETIME, LONGEST_SILENCE

from .aiming import say
from .conftest import PORT, Site, agree, connect
from .strangers import check, name_of

SERVER = ("10.0.0.1", PORT)


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.generate(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture
def greet(project_root):
    """The application that docs/servers.md shows, with peers that stay."""
    document = (project_root / "docs" / "servers.md").read_text()
    (program,) = (block for block in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if "def greet" in block)
    assert program.count("...\n") == 1
    names = {"trio": trio}
    exec(program.replace("...\n", "await trio.sleep_forever()\n"), names)
    return names["greet"]


def knock(site: Site, names: list[str]) -> None:
    """Send checks for some names, each from an address of its own, with the name for a password."""
    host, rng = site.add_guest(), random.Random(1)
    for name in names:
        host.open_udp((host.addresses[0], 0)).send(SERVER, check(name, name.encode(), rng), None, None)


async def test_one_name_from_many_addresses_is_one_contact(site: Site, autojump_clock):
    """Peers check from every address that they have."""
    async with site.serve(limits=ServerLimits(max_unknown_ufrags=2)) as server:
        knock(site, ["one" * 8] * 10 + ["other" * 4])
        await trio.sleep(0.1)
        met = [(await server.unknown_ufrags.receive()).local_ufrag for _ in range(2)]
        assert met == ["one" * 8, "other" * 4]
        assert server.get_stats().first_contacts_dropped == 0
        with trio.move_on_after(10):
            pytest.fail(f"one more: {await server.unknown_ufrags.receive()}")


async def names_that_knock(server: WebRtcServer, seconds: float = 1) -> list[str]:
    """Who is announced within a while."""
    names = []
    with trio.move_on_after(seconds):
        async for contact in server.unknown_ufrags:
            names.append(contact.local_ufrag)
    return names


async def test_who_does_not_repeat_its_check_is_gone_and_who_does_stays(site: Site, autojump_clock):
    """Nobody reads for a while; who reads then wants to hear of those who are still there, in the order of coming."""
    async with site.serve(limits=ServerLimits(max_unknown_ufrags=3)) as server:
        knock(site, ["patient", "dead1", "dead2", "too many"])
        for name in ("patient", "late1", "late2"):  # a peer pauses for 16 s at most
            await trio.sleep(LONGEST_SILENCE * 0.4)
            knock(site, ["patient", name])
        await trio.sleep(0.1)
        assert server.get_stats().first_contacts_dropped == 2, "there was room for late2 only when the dead had gone"
        assert await names_that_knock(server) == ["patient", "late2"]
        knock(site, ["dead1"])
        await trio.sleep(LONGEST_SILENCE + 1)
        assert await names_that_knock(server) == []


async def test_an_hour_of_the_dead_leaves_room_for_the_living(site: Site, autojump_clock):
    async with site.serve(limits=ServerLimits(max_unknown_ufrags=4)) as server:
        for hour in range(3):
            knock(site, [f"dead{number}" for number in range(4)])
            await trio.sleep(3600)
            knock(site, [f"newcomer{hour}"])
            assert await names_that_knock(server) == [f"newcomer{hour}"]
        assert server.get_stats().first_contacts_dropped == 0


def knock_late(server: WebRtcServer, peer: PeerConnection, name: str) -> None:
    """A check for a name arrives from the address of a connected peer."""
    via, address = peer._core._way
    late = check(name, b"whatever it was", random.Random(1))
    server._switchboard.receive([Received(via, address, late)])


async def test_late_checks_by_the_name_of_before_a_restart_are_no_first_contacts(site: Site, autojump_clock):
    """They were under way when the first one by the new name arrived."""
    async with site.serve() as server, connect(server, site.add_guest()) as joined:
        former = name_of(joined.peer)
        joined.client.restart_ice()
        await agree(joined.client, joined.peer, "udp")
        await trio.sleep(1)
        assert former not in server.get_stats().ufrags
        knock_late(server, joined.peer, former)
        assert server.get_stats().checks_for_unknown_ufrags == 1
        assert await names_that_knock(server) == []


@pytest.mark.parametrize("cause", ["no room", "cancelled"])
async def test_who_was_turned_away_is_announced_again_as_soon_as_it_knocks(site: Site, autojump_clock, cause: str):
    """Its name never was a peer's, so its checks are not late. There is room for one of two that come at once."""
    peers, turned_away = [], []
    both = [letter * 24 for letter in "ab"]

    async def meet(contact: FirstContact) -> None:
        name = contact.local_ufrag
        configuration = Configuration(ice_credentials=(name, name))
        with trio.CancelScope() as impatience:
            if cause == "cancelled":
                impatience.cancel()
            try:
                async with server.open_peer_connection(configuration, first_contact=contact):
                    peers.append(name)
                    await trio.sleep(1)
            except UsageError:
                turned_away.append(name)
        if impatience.cancelled_caught:
            turned_away.append(name)

    limits = ServerLimits(max_peers=1)
    async with site.serve(limits=limits) as server:
        knock(site, both)
        await trio.sleep(0.1)
        async with trio.open_nursery() as nursery:
            for _ in both:
                nursery.start_soon(meet, await server.unknown_ufrags.receive())
        assert server.get_stats().peers == 0
        assert sorted(peers + turned_away) == both
        assert turned_away
        knock(site, both)
        assert sorted(await names_that_knock(server)) == turned_away


@pytest.mark.parametrize("way_out", ["goodbye", "own", "silence"])
async def test_checks_of_a_peer_that_has_not_heard_our_goodbye_are_no_first_contacts(
    site: Site, autojump_clock, way_out: str
):
    """For a while; then the name may be chosen by somebody else."""
    guest = site.add_guest()
    async with site.serve() as server, connect(server, site.add_guest()) as bystander:
        async with connect(server, guest) as joined:
            former = name_of(joined.peer)
            match way_out:
                case "goodbye":
                    await joined.client.aclose()
                case "own":
                    await joined.peer.aclose()
                case _:
                    site.network.cut(guest, site.host)
            await joined.peer.wait_closed()
        for _ in range(6):
            knock_late(server, bystander.peer, former)
            assert await names_that_knock(server, FORMER_NAME_LIFETIME / 7) == []
        await trio.sleep(FORMER_NAME_LIFETIME)
        knock_late(server, bystander.peer, former)
        assert await names_that_knock(server) == [former]


async def test_the_names_of_those_who_have_left_are_bounded(site: Site, autojump_clock, monkeypatch):
    monkeypatch.setattr(first_contact, "MAX_FORMER_NAMES", 3)
    async with site.serve() as server, connect(server, site.add_guest()) as bystander:
        for number in range(5):
            configuration = Configuration(ice_credentials=(f"name{number}", "x" * 22))
            async with server.open_peer_connection(configuration):
                pass
        for number in range(5):
            knock_late(server, bystander.peer, f"name{number}")
        assert await names_that_knock(server) == ["name0", "name1"]


async def test_a_reader_that_has_closed_the_contacts_is_told_so_and_the_server_goes_on(site: Site, autojump_clock):
    async with site.serve() as server, connect(server, site.add_guest()) as joined:
        await server.unknown_ufrags.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await server.unknown_ufrags.receive()
        knock(site, ["name" * 6])
        await say(joined)
        assert server.get_stats().first_contacts_dropped == 1


@pytest.mark.parametrize(
    ("names", "served"),
    [([f"name{number:020}" for number in range(30)], 19), (["name" * 6] * 30, 1), (["name"] * 30, 0)],
    ids=["too many", "always the same", "too short for a password"],
)
async def test_names_that_cannot_be_served_do_not_end_the_application_that_the_document_shows(
    site: Site, autojump_clock, certificate: Certificate, greet, names: list[str], served: int
):
    async with site.serve(limits=ServerLimits(max_peers=20)) as server, trio.open_nursery() as nursery:
        nursery.start_soon(greet, server, certificate)
        async with connect(server, site.add_guest()) as joined:
            for name in names:
                knock(site, [name])
                await trio.sleep(0.01)
            await say(joined)
            assert server.get_stats().peers == 1 + served
        nursery.cancel_scope.cancel()


async def test_a_password_that_a_stranger_has_chosen_takes_nobodys_address_away(
    site: Site, autojump_clock, certificate: Certificate, greet
):
    """He writes a peer's address on checks for a name of his own, again and again: the peer hears and is heard."""
    async with site.serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(greet, server, certificate)
        async with connect(server, site.add_guest()) as joined:
            (address,) = server.get_stats().remote_addresses
            via, _ = joined.peer._core._way
            name, rng = "x" * 24, random.Random(1)
            for number in range(10):
                forged = check(name, name.encode(), rng, nominates=False)
                server._switchboard.receive([Received(via, address, forged)])
                began = trio.current_time()
                await say(joined, f"{number}")
                assert trio.current_time() - began < 0.2
                assert server._switchboard._places.owners[via, address].path is joined.peer._path
            assert server.get_stats().checks_for_unknown_ufrags == 1
            assert server.get_stats().peers == 2
        nursery.cancel_scope.cancel()
