"""The ways to the world of a peer that shares a server's ports with others."""

from collections.abc import Callable, Sequence
from typing import Final

import trio

from trio_webrtc.core.ice import Credentials
from trio_webrtc.core.peer import PeerCore
from trio_webrtc.shell.listening import TcpPlace, UdpPlace
from trio_webrtc.shell.path import Path
from trio_webrtc.shell.switchboard import Seat, Switchboard

HIGHEST_PREFERENCE: Final = 65_535
"""The local preference of the first address (RFC 8445 §5.1.2.1); the others follow in falling order."""


class SharedPorts:
    """One peer's share of some ports: its seat at their switchboard, which it leaves with the end of its path."""

    def __init__(
        self,
        switchboard: Switchboard,
        places: Sequence[UdpPlace | TcpPlace],
        is_strangers: bool,
        on_former_name: Callable[[str], None],
        path: Path,
        core: PeerCore,
    ) -> None:
        self.seat: Seat = switchboard.seat(path, core, is_strangers=is_strangers)
        if is_strangers:
            core.limit_amplification()
        path.own(self)
        self._places = places
        self._on_former_name = on_former_name
        self._path = path
        self._core = core

    @trio.lowlevel.enable_ki_protection
    async def gather(self) -> None:
        """Tell the core of every address, in the order in which the server was told of them."""
        await trio.lowlevel.checkpoint()
        preference = HIGHEST_PREFERENCE
        for base in [base for place in self._places for base in place.bases()]:
            self._path.tell(
                self._core.add_local_base,
                base.via,
                base.address,
                local_preference=preference,
                announced=base.announced,
                beside_own=base.beside_own,
                kind=base.kind,
                now=trio.current_time(),
            )
            preference -= 1 + len(base.announced)  # the names of one address have falling preferences as well
        self._path.tell(self._core.end_of_local_bases, trio.current_time())

    def know(self, credentials: Sequence[Credentials]) -> None:
        """The peer may ask for this one by these names from now on, and by no others."""
        ufrags = [known.ufrag for known in credentials]
        for former in self.seat.ufrags:
            if former not in ufrags:
                self._on_former_name(former)
        self.seat.know(ufrags)

    def close(self) -> None:
        """Leave: what comes from now on is for nobody."""
        self.know(())
        self.seat.close()
