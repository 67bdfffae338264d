"""How packetdrill writes SCTP packets: `SACK[flgs=0, cum_tsn=1, a_rwnd=..., gaps=[2:2], dups=[]]; DATA[...]`."""

import re
from dataclasses import dataclass, field
from typing import TypeAlias, Union

Value: TypeAlias = Union[int, str, "Item", list["Value"], type(...)]
"""A number, a word, something nested, several of them, or `...` for whatever it may be."""

_TOKEN = re.compile(r"""\s*(\.\.\.|"[^"]*"|[][,;=]|[^][,;="\s]+)""")


@dataclass
class Item:
    """A chunk, a parameter or an error cause."""

    name: str
    fields: dict[str, Value] = field(default_factory=dict)
    items: list["Item"] = field(default_factory=list)
    """The parameters or causes inside."""
    is_open: bool = False
    """Whether more of them may follow, for a `...` ends the list."""


def read_packet(text: str) -> list[Item] | bytes:
    """The chunks of a packet, or the bytes of one that is none."""
    reader = _Reader(text)
    if text.startswith("["):
        return bytes(reader.value())
    chunks = [reader.item(reader.take())]
    while reader.takes(";"):
        chunks.append(reader.item(reader.take()))
    return chunks


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)[::-1]

    def take(self) -> str:
        return self._tokens.pop()

    def takes(self, token: str) -> bool:
        """Take the next token, if it is this one."""
        if found := self._tokens[-1:] == [token]:
            self._tokens.pop()
        return found

    def item(self, name: str) -> Item:
        item = Item(name)
        self.takes("[")
        while not self.takes("]"):
            if self.takes("..."):
                item.is_open = True
            elif (word := self.take()) and self.takes("="):
                item.fields[word] = self.value()
            else:
                item.items.append(self.item(word))
            self.takes(",")
        return item

    def value(self) -> Value:
        token = self.take()
        if token == "...":
            return ...
        if token == "[":
            values = []
            while not self.takes("]"):
                values.append(self.value())
                self.takes(",")
            return values
        if self._tokens[-1:] == ["["]:
            return self.item(token)
        try:
            return int(token, 0)
        except ValueError:
            return token.strip('"')
