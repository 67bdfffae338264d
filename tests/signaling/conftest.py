"""The same two hosts and ways to meet as for the public surface; and TLS."""

from ..surface.conftest import RUNS, make_world, world
from .certificates import tls

__all__ = ["RUNS", "make_world", "tls", "world"]
