"""An interface of a server goes away with its address, in network namespaces of the test's own."""

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "vanishing_interface.py"


def test_a_server_on_wildcards_goes_on_by_the_interfaces_that_are_left(require):
    unshare = require(shutil.which("unshare"), "no unshare(1) to make a network namespace with")
    require(shutil.which("ip"), "no ip(8) to make network interfaces with")
    command = [unshare, "--map-root-user", "--net", "--mount", sys.executable, str(SCRIPT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=90)
    allowed = result.returncode != 77 and "unshare" not in result.stderr
    require(allowed, f"no network namespaces with an interface between them can be made here: {result}")
    assert result.stdout.splitlines() == [
        "both sides are served",
        "one side is gone, the other is served",
        "newcomers are served",
        "both sides are served again",
        "gone",
    ], result.stderr
    assert "is lost" not in result.stderr, "one interface is not the whole socket"
    assert "Traceback" not in result.stderr
