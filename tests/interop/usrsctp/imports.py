"""Has a loaded library call other functions than those it was linked with: so usrsctp gets the clock of a test."""

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path

SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
RELA, DYNSYM = 4, 11


def redirect(library: str, functions: dict[str, ctypes._CFuncPtr]) -> None:
    """Point the calls that `library`, already loaded, makes to these names to other functions, which must stay alive.

    Works on the table of imports in memory (ELF, 64 bits), so that nothing but this library notices.
    """
    base, path = _place(library)
    wanted = dict(functions)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for offset, name in _imports(path.read_bytes()):
        if name in wanted:
            slot = base + offset
            page = slot & -mmap.PAGESIZE
            if libc.mprotect(page, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            function = ctypes.cast(wanted.pop(name), ctypes.c_void_p)
            ctypes.c_void_p.from_address(slot).value = function.value
    if wanted:
        raise LookupError(f"{library} does not import {', '.join(wanted)}")


def _place(library: str) -> tuple[int, Path]:
    """Where a library is in memory, and on disk."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, _, offset, _, _, *path = line.split()
        if path and Path(path[0]).name.startswith(library) and int(offset, 16) == 0:
            return int(addresses.split("-")[0], 16), Path(path[0])
    raise LookupError(f"{library} is not loaded")


def _imports(elf: bytes) -> Iterator[tuple[int, str]]:
    """Each function that a library calls by name: where its address is kept, and the name."""
    (section_table,) = struct.unpack_from("<Q", elf, 0x28)
    (sections,) = struct.unpack_from("<H", elf, 0x3C)
    table = [SECTION.unpack_from(elf, section_table + index * SECTION.size) for index in range(sections)]
    for _, type_, _, _, start, size, symbols, _, _, _ in table:
        if type_ != RELA or table[symbols][1] != DYNSYM:
            continue
        first_symbol, names = table[symbols][4], table[table[symbols][6]][4]
        for offset, info, _ in RELOCATION.iter_unpack(elf[start : start + size]):
            name = names + SYMBOL.unpack_from(elf, first_symbol + (info >> 32) * SYMBOL.size)[0]
            yield offset, elf[name : elf.index(b"\0", name)].decode()
