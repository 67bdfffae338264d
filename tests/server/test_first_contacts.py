"""First contacts in the hands of strangers: one name is one of them, and what is wrong with it harms nobody else."""

import datetime
import random
import re

import pytest
import trio

from trio_webrtc import Certificate, ServerLimits
from trio_webrtc.core.contract import Received

from .aiming import say
from .conftest import PORT, Site, connect
from .strangers import check

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
                assert server._switchboard._by_address[via, address].path is joined.peer._path
            assert server.get_stats().checks_for_unknown_ufrags == 1
            assert server.get_stats().peers == 2
        nursery.cancel_scope.cancel()
