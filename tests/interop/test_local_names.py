"""The names that Chromium signals in place of its addresses are answered for by Chromium itself (RFC 6762)."""

import shutil

import pytest
import trio

from trio_webrtc import PeerConnection, open_peer_connection
from trio_webrtc.core.mdns import is_local_name
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.mdns import NameResolver

from .browsers import chromium, firefox, open_browser
from .test_renegotiation import PATIENCE, Session, serve_page


@pytest.fixture(params=["chromium", "firefox"])
def browser(request, require):
    if request.param == "chromium":
        return chromium(require(shutil.which("chromium"), "Chromium is not installed"), shows_addresses=False)
    return firefox(require(shutil.which("firefox-esr"), "Firefox is not installed"))


async def signalled_names(peer: PeerConnection) -> set[str]:
    """The names in the candidates that have come, as soon as there are any."""
    with trio.fail_after(PATIENCE):
        while not (
            names := {remote.host for remote in peer._core.agent.remote_candidates if is_local_name(remote.host)}
        ):
            await trio.sleep(0.05)
    return names


async def test_a_browser_answers_for_the_names_that_it_signals(require, browser, tmp_path, nursery):
    own = {interface.address for interface in HOST_NETWORK.interfaces()}
    require(own - {"127.0.0.1", "::1"}, "there is no interface but the loopback, on which browsers answer for no names")
    url, pages = await nursery.start(serve_page)
    found: dict[str, str] = {}
    async with open_browser(browser, tmp_path, url), open_peer_connection() as peer, trio.open_nursery() as listening:
        with trio.fail_after(4 * PATIENCE):
            page = await pages.receive()
        listening.start_soon(page.listen, peer)
        await Session(peer, page).page_offers()
        names = await signalled_names(peer)
        resolver = NameResolver(HOST_NETWORK, None, found.__setitem__)
        for name in names:
            resolver.ask(name)
        with trio.fail_after(PATIENCE):
            await resolver.run()
        page.finished.set()
        listening.cancel_scope.cancel()
    assert set(found.values()) <= own
    assert found.keys() == {name.lower() for name in names}
