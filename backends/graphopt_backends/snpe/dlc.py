"""Read what a `.dlc` file holds: Qualcomm's container for a QNN graph.

The file is a zip archive of stored members: `model` (the graph), `model.params` and `model.params.bin` (the weights)
and `dlc.metadata*` (JSON). QNN's writer leaves the CRC fields at 0, which Python's `zipfile` takes for damage. `model`
is eight bytes of header and a FlatBuffer with the identifier "NETD". No schema is published; the fields used here were
read off files written by QNN 2.51: root { 0: graphs }, graph { 0: name, 1: nodes, 2: tensors },
node { 0: name, 1: op type, 2: inputs, 3: outputs }.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from graphopt.errors import GraphoptError

_HEADER = 8
_IDENTIFIER = b"NETD"


class DlcError(GraphoptError):
    """The file is not a `.dlc` that this reader knows."""


@dataclass(frozen=True)
class Op:
    """One operation of a graph: its name, QNN's op type, and the names of its inputs and outputs."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """One graph: its name and its operations in order."""

    name: str
    ops: tuple[Op, ...]

    def histogram(self) -> dict[str, int]:
        """How many operations of each type there are, the commonest first."""
        return dict(Counter(op.type for op in self.ops).most_common())


@dataclass(frozen=True)
class Dlc:
    """A `.dlc` file.

    Attributes:
        graphs: the graphs; a model that was compiled whole has one.
        converter: version of the QNN release that wrote the file, "" where it does not say.
        members: bytes of each member of the archive.
    """

    graphs: tuple[Graph, ...]
    converter: str
    members: dict[str, int]


def read(file: Path) -> Dlc:
    """Read a `.dlc` file.

    Raises:
        DlcError: the file is no `.dlc`, or of a layout that this reader does not know.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            infos = {info.filename: info for info in archive.infolist()}
        graph = _stored(file, infos["model"])
        if graph[_HEADER + 4 : _HEADER + 8] != _IDENTIFIER:
            raise DlcError(f"{file}: its graph is no NETD FlatBuffer")
        graphs = tuple(_graph(table) for table in _Table.root(graph[_HEADER:]).tables(0))
        history = next((info for name, info in infos.items() if name.startswith("dlc.metadata.history")), None)
        converter = _converter(_stored(file, history)) if history else ""
    except (zipfile.BadZipFile, NotImplementedError, KeyError, ValueError, struct.error) as error:
        raise DlcError(f"{file}: not a .dlc file of a known layout ({error})") from error
    return Dlc(graphs, converter, {name: info.file_size for name, info in infos.items()})


def _stored(file: Path, info: zipfile.ZipInfo) -> bytes:
    # zipfile would compare the CRC, so the bytes are found through the member's local header
    # (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.7).
    if info.compress_type != zipfile.ZIP_STORED:
        raise DlcError(f"{file}: member {info.filename} is compressed")
    with file.open("rb") as raw:
        raw.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", raw.read(4))
        raw.seek(name + extra, 1)
        return raw.read(info.file_size)


def _converter(history: bytes) -> str:
    runs = json.loads(history).get("dlcGenerationInfo", [])
    return str(runs[-1].get("converterCommand", {}).get("converterVersion", "")) if runs else ""


def _graph(table: _Table) -> Graph:
    ops = (Op(node.text(0), node.text(1), node.texts(2), node.texts(3)) for node in table.tables(1))
    return Graph(table.text(0), tuple(ops))


@dataclass(frozen=True)
class _Table:
    """A FlatBuffer table (https://flatbuffers.dev/internals): fields are found through its vtable."""

    buffer: bytes
    at: int

    @classmethod
    def root(cls, buffer: bytes) -> _Table:
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def _target(self, field: int) -> int | None:
        vtable = self.at - struct.unpack_from("<i", self.buffer, self.at)[0]
        slot = 4 + 2 * field
        if slot >= struct.unpack_from("<H", self.buffer, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.buffer, vtable + slot)[0]
        return self._follow(self.at + offset) if offset else None

    def _follow(self, at: int) -> int:
        return int(at + struct.unpack_from("<I", self.buffer, at)[0])

    def _elements(self, field: int) -> list[int]:
        start = self._target(field)
        if start is None:
            return []
        count = struct.unpack_from("<I", self.buffer, start)[0]
        return [self._follow(start + 4 + 4 * index) for index in range(count)]

    def _string(self, at: int) -> str:
        size = struct.unpack_from("<I", self.buffer, at)[0]
        return self.buffer[at + 4 : at + 4 + size].decode()

    def text(self, field: int) -> str:
        at = self._target(field)
        return "" if at is None else self._string(at)

    def texts(self, field: int) -> tuple[str, ...]:
        return tuple(self._string(at) for at in self._elements(field))

    def tables(self, field: int) -> list[_Table]:
        return [_Table(self.buffer, at) for at in self._elements(field)]
