"""An interface goes away under a connection and comes back, in network namespaces of the test's own."""

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "lost_interface.py"


def test_a_connection_outlives_its_interface_and_a_restart_revives_one_that_has_failed(require):
    unshare = require(shutil.which("unshare"), "no unshare(1) to make a network namespace with")
    require(shutil.which("ip"), "no ip(8) to make network interfaces with")
    command = [unshare, "--map-root-user", "--net", "--mount", sys.executable, str(SCRIPT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90)
    allowed = result.returncode != 77 and "unshare" not in result.stderr
    require(allowed, f"no network namespaces with an interface between them can be made here: {result}")
    assert result.stdout.splitlines() == [
        "connected",
        "all echoed",
        "disconnected",
        "connected",
        "all echoed",
        "failed",
        "connected",
        "all echoed",
        "gone",
    ], result.stderr
