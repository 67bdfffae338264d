"""Signalling as the echo server's page does it: the whole offer goes out as JSON, and the response is the answer."""

import json
import urllib.request


def exchange(url: str, type: str, sdp: str) -> dict[str, str]:
    """Post an offer, with all its candidates in it; gives the answer. Raises OSError if it is refused."""
    offer = json.dumps({"type": type, "sdp": sdp}).encode()
    request = urllib.request.Request(url, offer, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)
