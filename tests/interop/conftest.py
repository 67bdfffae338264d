"""The browsers and the other stacks: where they are on this machine, if they are."""

import enum
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .browsers import Browser, chromium, firefox
from .network_namespace import own_network

PEERS = Path(__file__).parent / "peers"
PEER_PYTHONS = [os.environ.get("TRIO_WEBRTC_PEER_PYTHON"), "python3.14", "python3.13", "python3.12", sys.executable]
"""Where bindings are looked for that want a later Python than ours."""
DEBIAN_GO = Path("/usr/share/gocode")


class Peculiarity(enum.Enum):
    """What a stack does otherwise than its RFCs have it; see docs/interoperability.md."""

    FORGETS_UNREAD = "messages that it has acknowledged may be lost when the end follows at once"
    REFUSES_ANSWERS = "now and then it refuses the candidates of a good answer, for it has no ICE transport any more"
    FORGETS_UNSENT = "its own last messages may be lost when it leaves"
    SWAPS_KINDS_OF_EMPTY = "it takes an empty text for empty binary, and the other way round"
    KNOWS_NO_END = "it says no goodbye, and does not tell its program of one"
    SENDS_NOTHING_EMPTY = "it cannot send empty messages"
    HAS_NO_CHANNEL_OPTIONS = "its channels are ordered and reliable and have no protocol"
    KNOWS_NO_LARGE_MESSAGES = "it does not send or take messages of much more than 64 KiB"
    TELLS_NO_ORDER = "it says ordered of an unordered channel that has another limit"


LIBDATACHANNEL = (Peculiarity.FORGETS_UNREAD, Peculiarity.REFUSES_ANSWERS)
"""Of all its bindings."""


@dataclass(frozen=True)
class Stack:
    """Another WebRTC stack, and how to start it as a peer."""

    name: str
    command: tuple[str, ...]
    peculiarities: frozenset[Peculiarity] = frozenset()
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))


@pytest.fixture(scope="session")
def aiortc(require) -> Stack:
    return require(_python_stack("aiortc", [sys.executable]), "aiortc is not installed beside pytest")


@pytest.fixture(scope="session")
def libdatachannel(require) -> Stack:
    """By its Python binding, which wants its own Python, or else by its Node.js binding."""
    stack = _python_stack("libdatachannel", PEER_PYTHONS, *LIBDATACHANNEL)
    return require(
        stack or _node_datachannel(),
        "libdatachannel is missing: neither a Python (TRIO_WEBRTC_PEER_PYTHON, or one >= 3.12 on the PATH) has "
        "libdatachannel-py, nor Node.js (by NODE_PATH) node-datachannel",
    )


@pytest.fixture(scope="session")
def aiolibdatachannel(require) -> Stack:
    """libdatachannel, by its binding for asyncio."""
    _skip_without_later_python()
    stack = _python_stack("aiolibdatachannel", PEER_PYTHONS, *LIBDATACHANNEL)
    return require(stack, "no Python (TRIO_WEBRTC_PEER_PYTHON, or one >= 3.12 on the PATH) has aiolibdatachannel")


def _skip_without_later_python() -> None:
    """What wants a later Python than the machine can have is no fault of the machine: CI says so by this word."""
    if os.environ.get("TRIO_WEBRTC_PEER_PYTHON") == "none":
        pytest.skip("this stack has bindings for Python >= 3.12 only, which the machine cannot have")


@pytest.fixture(scope="session")
def node_datachannel(require) -> Stack:
    return require(_node_datachannel(), "there is no Node.js that finds node-datachannel (by NODE_PATH)")


@pytest.fixture(scope="session")
def libwebrtc(require) -> Stack:
    """By its Node.js binding."""
    return require(_w3c_stack("@roamhq/wrtc"), "there is no Node.js that finds @roamhq/wrtc (by NODE_PATH)")


@pytest.fixture(scope="session")
def reactor_webrtc(require) -> Stack:
    """libwebrtc, by a Python binding."""
    _skip_without_later_python()
    stack = _python_stack("reactor_webrtc", PEER_PYTHONS, Peculiarity.HAS_NO_CHANNEL_OPTIONS)
    return require(stack, "no Python (TRIO_WEBRTC_PEER_PYTHON, or one >= 3.12 on the PATH) has reactor-webrtc")


@pytest.fixture(scope="session")
def werift(require) -> Stack:
    stack = _w3c_stack(
        "werift", Peculiarity.FORGETS_UNSENT, Peculiarity.SENDS_NOTHING_EMPTY, Peculiarity.TELLS_NO_ORDER
    )
    return require(stack, "there is no Node.js that finds werift (by NODE_PATH)")


@pytest.fixture(scope="session")
def pion(require, tmp_path_factory) -> Stack:
    return require(
        _pion(tmp_path_factory.mktemp("pion")), "there is no Go with Debian's golang-github-pion-webrtc.v3-dev"
    )


@pytest.fixture(scope="session")
def webrtcbin(require) -> Stack:
    """GStreamer's, by its introspection."""
    python = "/usr/bin/python3"
    probe = "from webrtcbin_peer import Gst; Gst.init(None); assert Gst.ElementFactory.find('webrtcbin')"
    peculiarities = [
        Peculiarity.KNOWS_NO_END,
        Peculiarity.KNOWS_NO_LARGE_MESSAGES,
        Peculiarity.SENDS_NOTHING_EMPTY,
        Peculiarity.SWAPS_KINDS_OF_EMPTY,
    ]
    stack = Stack("webrtcbin", (python, str(PEERS / "webrtcbin_peer.py")), frozenset(peculiarities))
    return require(stack if _succeeds([python, "-c", probe]) else None, f"{python} finds no webrtcbin by PyGObject")


STACKS = [
    "aiortc",
    "libdatachannel",
    "aiolibdatachannel",
    "node_datachannel",
    "libwebrtc",
    "reactor_webrtc",
    "werift",
    "pion",
    "webrtcbin",
]


@pytest.fixture(params=STACKS)
def stack(request) -> Stack:
    """Each of the other stacks in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def network(require) -> Iterator[None]:
    """A network of the test's own, where there is an address that is not loopback."""
    require(shutil.which("ip"), "no ip(8) to make network interfaces with")
    entered = False
    try:
        with own_network():
            entered = True
            yield
    except (OSError, subprocess.CalledProcessError) as error:
        if entered:
            raise
        require(None, f"this user may not make network namespaces with an interface: {error}")


@pytest.fixture(params=["chromium", "firefox"])
def browser(request, require, network) -> Browser:
    """Each of the browsers, in the test's network."""
    if request.param == "chromium":
        program = require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")
        return chromium(program, shows_addresses=True)
    program = require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed")
    return firefox(program)


def _python_stack(module: str, pythons: list[str | None], *peculiarities: Peculiarity) -> Stack | None:
    for python in filter(None, pythons):
        if (path := shutil.which(python)) and _succeeds([path, "-c", f"import {module}"]):
            return Stack(module, (path, str(PEERS / f"{module}_peer.py")), frozenset(peculiarities))
    return None


def _node_stack(package: str, script: Path, *arguments: str, peculiarities: Iterable[Peculiarity]) -> Stack | None:
    node = shutil.which("node")
    if node and _succeeds([node, "-e", f"require('{package}')"]):
        return Stack(package, (node, str(script), *arguments), frozenset(peculiarities))
    return None


def _node_datachannel() -> Stack | None:
    script = PEERS / "node_datachannel_peer.mjs"
    return _node_stack("node-datachannel", script, peculiarities=LIBDATACHANNEL)


def _w3c_stack(package: str, *peculiarities: Peculiarity) -> Stack | None:
    return _node_stack(package, PEERS / "w3c_peer.mjs", package, peculiarities=peculiarities)


def _pion(folder: Path) -> Stack | None:
    """Build it where Go, without modules, finds Debian's packages: the program has to lie on the GOPATH as well."""
    go = shutil.which("go")
    if go is None or not DEBIAN_GO.exists():
        return None
    source = folder / "src" / "peer"
    shutil.copytree(PEERS / "pion", source)
    environment = os.environ | {"GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{folder}:{DEBIAN_GO}"}
    built = subprocess.run(
        [go, "build", "-o", folder / "peer", "peer"], env=environment, capture_output=True, timeout=300
    )
    stack = Stack("pion", (str(folder / "peer"),), frozenset([Peculiarity.KNOWS_NO_LARGE_MESSAGES]))
    return stack if built.returncode == 0 else None


def _succeeds(command: Sequence[str | Path]) -> bool:
    return subprocess.run(command, cwd=PEERS, capture_output=True, timeout=30).returncode == 0
