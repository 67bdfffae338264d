"""The same two hosts and ways to meet as for the public surface."""

from ..surface.conftest import make_world, world

__all__ = ["make_world", "world"]
