"""Serial number arithmetic (RFC 1982): counters that wrap round, compared by the shorter way between them."""

from typing import Final

_HALF_32: Final = 1 << 31
_MASK_32: Final = (1 << 32) - 1
_HALF_16: Final = 1 << 15
_MASK_16: Final = (1 << 16) - 1


def add32(number: int, steps: int) -> int:
    """The 32-bit serial number `steps` after `number` (before it, if negative)."""
    return (number + steps) & _MASK_32


def distance32(start: int, end: int) -> int:
    """How many steps lead from `start` to `end`, from -2**31 to 2**31 - 1: negative if `end` is the earlier one."""
    return ((end - start + _HALF_32) & _MASK_32) - _HALF_32


def is_later32(number: int, other: int) -> bool:
    """Whether 32-bit `number` comes after `other`."""
    return 0 < ((number - other) & _MASK_32) < _HALF_32


def add16(number: int, steps: int) -> int:
    """The 16-bit serial number `steps` after `number` (before it, if negative)."""
    return (number + steps) & _MASK_16


def distance16(start: int, end: int) -> int:
    """How many steps lead from `start` to `end`, from -2**15 to 2**15 - 1: negative if `end` is the earlier one."""
    return ((end - start + _HALF_16) & _MASK_16) - _HALF_16


def is_later16(number: int, other: int) -> bool:
    """Whether 16-bit `number` comes after `other`."""
    return 0 < ((number - other) & _MASK_16) < _HALF_16
