"""The same two hosts and ways to meet as for the public surface; and TLS."""

from ..surface.conftest import RUNS, make_world, world
from .certificates import tls
from .serving import no_client_left_open

__all__ = ["RUNS", "make_world", "no_client_left_open", "tls", "world"]
