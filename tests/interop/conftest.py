"""The browsers and the other stacks: where they are on this machine, if they are."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Stack:
    """Another WebRTC stack, and how to start it as a peer."""

    name: str
    command: tuple[str, ...]
    keeps_unread: bool
    """Whether messages that it has acknowledged survive an end that follows at once; see docs/interoperability.md."""
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))


@pytest.fixture(scope="session")
def aiortc(require) -> Stack:
    stack = _python_stack("aiortc", [sys.executable], PEERS / "aiortc_peer.py", keeps_unread=True)
    return require(stack, "aiortc is not installed beside pytest")


@pytest.fixture(scope="session")
def libdatachannel(require) -> Stack:
    """By its Python binding, which wants its own Python, or else by its Node.js binding."""
    pythons = [os.environ.get("TRIO_WEBRTC_PEER_PYTHON"), "python3.14", "python3.13", "python3.12", sys.executable]
    stack = _python_stack("libdatachannel", pythons, PEERS / "libdatachannel_peer.py", keeps_unread=False)
    return require(
        stack or _node_datachannel(),
        "libdatachannel is missing: neither a Python (TRIO_WEBRTC_PEER_PYTHON, or one >= 3.12 on the PATH) has "
        "libdatachannel-py, nor Node.js (by NODE_PATH) node-datachannel",
    )


@pytest.fixture(scope="session")
def node_datachannel(require) -> Stack:
    return require(_node_datachannel(), "there is no Node.js that finds node-datachannel (by NODE_PATH)")


@pytest.fixture(params=["aiortc", "libdatachannel", "node_datachannel"])
def stack(request) -> Stack:
    """Each of the other stacks in turn."""
    return request.getfixturevalue(request.param)


def _python_stack(module: str, pythons: list[str | None], script: Path, *, keeps_unread: bool) -> Stack | None:
    for python in filter(None, pythons):
        if (path := shutil.which(python)) and _succeeds([path, "-c", f"import {module}"]):
            return Stack(module, (path, str(script)), keeps_unread)
    return None


def _node_datachannel() -> Stack | None:
    node = shutil.which("node")
    if node and _succeeds([node, "-e", "require('node-datachannel')"]):
        return Stack("node-datachannel", (node, str(PEERS / "node_datachannel_peer.mjs")), keeps_unread=False)
    return None


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, cwd=PEERS, capture_output=True, timeout=30).returncode == 0
