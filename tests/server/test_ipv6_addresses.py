"""A server at IPv6 addresses that have to be made first, in a network namespace of the test's own."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_server_is_reached_at_ipv6_addresses_of_every_kind(require):
    unshare = require(shutil.which("unshare"), "no unshare(1) to make a network namespace with")
    require(shutil.which("ip"), "no ip(8) to make network interfaces with")
    command = [unshare, "--map-root-user", "--net", sys.executable, "-m", "tests.server.ipv6_addresses"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    allowed = result.returncode != 77 and "unshare" not in result.stderr
    require(allowed, f"no network namespace with IPv6 addresses can be made here: {result}")
    assert result.stdout.splitlines() == [
        f"{transport}: {what}"
        for transport in ("udp", "tcp")
        for what in (
            "each of two addresses of a wildcard answers",
            "so does a link-local one, also on an interface that has come back",
            "an address may be written in any way, a zone by name or by number",
        )
    ], result.stderr
