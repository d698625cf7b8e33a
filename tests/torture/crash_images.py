"""What a disk may hold after a power cut, from the system calls that `strace` saw of a process.

The model is stricter than any file system that is in use:

- Bytes that were written are on the disk once an fsync of their file, begun after the write's
  end, has returned. Until then each single write may be there or not, or be cut at a sector, in
  any combination.
- A name (made, renamed or removed) is on the disk once an fsync of its folder, begun afterwards,
  has returned. Until then the first so many of a folder's changes are there.
- Nothing is on the disk that was not asked for: no write is invented, none lands elsewhere.
"""

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
CALLS = (
    "openat,creat,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,fallocate,"
    "fsync,fdatasync,sync_file_range,ftruncate,truncate,rename,renameat,renameat2,link,linkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir"
)
"""Everything that changes files; one that is seen and not understood fails the test."""
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)")
_UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)$")
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)(?:<([^>]*)>)?")


def strace(output: Path) -> list[str]:
    """The command line that records what follows it."""
    flags = ["-f", "-ttt", "-y", "-xx", "-s", "4000000", "--seccomp-bpf", "-e", f"trace={CALLS}"]
    return ["strace", *flags, "-o", str(output)]


class Operation(NamedTuple):
    """A system call that changed a file below the folder.

    Attributes:
        began: Seconds since the epoch.
        before: How many operations had ended when it began.
        kind: write, truncate, sync, make, folder, rename, link or unlink.
        path: What it is about.
        data: What was written, at `offset`; for a rename or link the new path.
    """

    began: float
    before: int
    kind: str
    path: str
    offset: int = 0
    data: bytes | str = b""


def recorded(log: Path, folder: Path) -> list[Operation]:
    """Reads what strace wrote: operations on files below a folder, in the order of their ends.

    Raises:
        ValueError: If a call is not understood.
    """
    operations: list[Operation] = []
    waiting: dict[str, tuple[float, int, str]] = {}
    positions: dict[tuple[str, str], int] = {}
    sizes: dict[str, int] = {}
    with log.open() as lines:
        for line in lines:
            if (match := _LINE.match(line)) is None:
                raise ValueError(f"not a line of strace: {line[:200]}")
            pid, began, text = match[1], float(match[2]), match[3]
            before = len(operations)
            if (unfinished := _UNFINISHED.match(text)) is not None:
                waiting[pid] = (began, before, f"{unfinished[1]}({unfinished[2]}")
                continue
            if (resumed := _RESUMED.match(text)) is not None:
                began, before, start = waiting.pop(pid)
                text = start + resumed[2]
            if (call := _CALL.match(text)) is None or call[3] in ("?", "-1"):
                continue
            name, arguments, result = call[1], call[2], int(call[3])
            operations += [
                Operation(began, before, *rest)
                for rest in _understood(name, arguments, result, str(folder), positions, sizes)
            ]
    return operations


_Positions = dict[tuple[str, str], int]
_Rest = tuple[str, str] | tuple[str, str, int, bytes | str]


def _understood(
    name: str,
    arguments: str,
    result: int,
    folder: str,
    positions: _Positions,
    sizes: dict[str, int],
) -> list[_Rest]:
    if folder.encode().hex() not in arguments.replace("\\x", "") and folder not in arguments:
        return []
    if name in ("write", "pwrite64"):
        number, path = _descriptor(arguments)
        if not path.startswith(folder) or path.endswith("(deleted)"):
            return []
        data = _texts(arguments)[0][:result]
        if name == "pwrite64":
            offset = int(arguments.rpartition(",")[2])
        else:  # our files that are written so are written from their start to their end
            offset = positions.get((number, path), 0)
            positions[number, path] = offset + len(data)
        return [("write", path, offset, data)]
    if name in ("fsync", "fdatasync"):
        return [("sync", _descriptor(arguments)[1])]
    if name == "ftruncate":
        return [("truncate", _descriptor(arguments)[1], int(arguments.rpartition(",")[2]), b"")]
    paths = [text.decode() for text in _texts(arguments)]
    if name in ("openat", "creat"):
        descriptor = str(result)
        positions.pop((descriptor, paths[0]), None)
        made: list[_Rest] = []
        if "O_APPEND" in arguments and "O_WRONLY|O_RDWR" in arguments:
            raise ValueError(f"appending is not understood: {arguments[:200]}")
        if "O_CREAT" in arguments or name == "creat":
            made.append(("make", paths[0]))
        if "O_TRUNC" in arguments or name == "creat":
            made.append(("truncate", paths[0], 0, b""))
        return made
    if name in ("mkdir", "mkdirat"):
        return [("folder", paths[0])]
    if name in ("rename", "renameat", "renameat2"):
        return [("rename", paths[0], 0, paths[1])]
    if name in ("link", "linkat"):
        return [("link", paths[0], 0, paths[1])]
    if name in ("unlink", "unlinkat", "rmdir"):
        return [("unlink", paths[0])]
    raise ValueError(f"{name} is not understood: {arguments[:200]}")


def _descriptor(arguments: str) -> tuple[str, str]:
    match = _DESCRIPTOR.match(arguments)
    assert match is not None
    path = match[2] or ""
    if "\\x" in path:
        path = ast.literal_eval(f'b"{path}"').decode()
    return match[1], path


def _texts(arguments: str) -> list[bytes]:
    """The quoted strings of a call, all in hexadecimal."""
    return [
        bytes.fromhex(text.replace("\\x", ""))
        for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)
    ]


@dataclass(eq=False)
class _File:
    """A file's content on the disk, and the writes that may be there."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, Operation]] = field(default_factory=list)


@dataclass(eq=False)
class _Folder:
    """A folder's names as processes see them and on the disk, and the changes that may be there."""

    live: dict[str, "_Node"] = field(default_factory=dict)
    stored: dict[str, "_Node"] = field(default_factory=dict)
    pending: list[tuple[int, "_Names"]] = field(default_factory=list)


_Node = _File | _Folder
_Names = dict[str, _Node | None]
"""What one operation does to a folder: names that stand for something else now, or for nothing."""


class Disk:
    """A folder while operations go on.

    Args:
        folder: Whose absolute paths the operations have.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = _Folder()
        self._count = 0

    def apply(self, operation: Operation) -> None:
        """Lets an operation end."""
        number, self._count = self._count, self._count + 1
        kind = operation.kind
        if kind == "sync":
            self._sync(operation)
            return
        if Path(operation.path) == self._folder:
            return  # it is there from the beginning
        folder, name = self._parent(operation.path)
        node = folder.live.get(name)
        if kind in ("write", "truncate"):
            if isinstance(node, _File):
                node.pending.append((number, operation))
        elif kind == "make":
            if node is None:
                _change(folder, number, {name: _File()})
        elif kind == "folder":
            _change(folder, number, {name: _Folder()})
        elif kind == "unlink":
            _change(folder, number, {name: None})
        else:
            there, new_name = self._parent(str(operation.data))
            changes: _Names = {name: None} if kind == "rename" else {}
            if there is folder:
                _change(folder, number, {**changes, new_name: node})
            else:
                _change(there, number, {new_name: node})
                _change(folder, number, changes)

    def images(self, chance: random.Random, count: int) -> Iterator[dict[str, bytes | None]]:
        """Yields what the disk may hold now, by path below the folder; None is a folder.

        First with nothing that is not safe, then with everything, then with random choices.
        """
        for number in range(count):
            likelihood = (0.0, 1.0)[number] if number < 2 else chance.random()
            image: dict[str, bytes | None] = {}
            _add(image, "", self._root, chance, likelihood)
            yield image

    def _parent(self, path: str) -> tuple[_Folder, str]:
        *folders, name = Path(path).relative_to(self._folder).parts
        node: _Node = self._root
        for part in folders:
            assert isinstance(node, _Folder)
            node = node.live[part]
        assert isinstance(node, _Folder)
        return node, name

    def _sync(self, operation: Operation) -> None:
        node: _Node | None = self._root
        if Path(operation.path) != self._folder:
            folder, name = self._parent(operation.path)
            node = folder.live.get(name)
        if isinstance(node, _File):
            for number, write in node.pending:
                if number < operation.before:
                    _write(node.content, write)
        elif node is not None:
            for number, names in node.pending:
                if number < operation.before:
                    _rename(node.stored, names)
        else:
            return  # it was removed while it was open
        node.pending = [item for item in node.pending if item[0] >= operation.before]


def _change(folder: _Folder, number: int, names: _Names) -> None:
    if names:
        _rename(folder.live, names)
        folder.pending.append((number, names))


def _rename(table: dict[str, _Node], names: _Names) -> None:
    for name, node in names.items():
        if node is None:
            table.pop(name, None)
        else:
            table[name] = node


def _add(
    image: dict[str, bytes | None],
    prefix: str,
    folder: _Folder,
    chance: random.Random,
    likelihood: float,
) -> None:
    """Adds what a folder may hold to an image."""
    keep = len(folder.pending)
    if likelihood < 1.0:
        keep = chance.randint(0, keep) if likelihood else 0
    names = dict(folder.stored)
    for _, changes in folder.pending[:keep]:
        _rename(names, changes)
    for name, node in names.items():
        if isinstance(node, _Folder):
            image[prefix + name] = None
            _add(image, f"{prefix}{name}/", node, chance, likelihood)
        else:
            image[prefix + name] = _content(node, chance, likelihood)


def _content(file: _File, chance: random.Random, likelihood: float) -> bytes:
    content = bytearray(file.content)
    for _, operation in file.pending:
        if likelihood == 1.0 or chance.random() < likelihood:
            torn = likelihood < 1.0 and chance.random() < 0.1
            _write(content, operation, chance if torn else None)
    return bytes(content)


def _write(content: bytearray, operation: Operation, torn: random.Random | None = None) -> None:
    """Applies a write; a torn one reaches only its first or its last sectors."""
    start, data = operation.offset, operation.data
    assert isinstance(data, bytes)
    if operation.kind == "truncate":
        del content[start:]
        content.extend(bytes(start - len(content)))
        return
    if torn is not None:
        first_sector = -start % SECTOR
        edges = [first_sector + SECTOR * n for n in range(len(data) // SECTOR + 1)]
        at = min(torn.choice(edges), len(data))
        if torn.random() < 0.5:
            data = data[:at]
        else:
            start, data = start + at, data[at:]
    if len(content) < start:
        content.extend(bytes(start - len(content)))
    content[start : start + len(data)] = data
