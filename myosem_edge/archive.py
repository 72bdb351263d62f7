"""The one zip layout a bundle may have: members stored one after another, and nothing else.

Every field of every header follows from a member's name and contents, so one set of members has exactly one sequence
of bytes. Reading therefore compares each header with the one that writing would have produced: hidden bytes, comments,
extra fields, compression, encryption, zip64 and a second meaning of the same file all fail that one comparison. The
general readers accept them, which is why neither direction goes through one. Any unzip program can open the result.

Layout (APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16): local header and data per member, central directory,
end record.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from myosem_edge.errors import BundleError

LOCAL = struct.Struct("<IHHHHHIIIHH")
CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
END = struct.Struct("<IHHHHIIH")
LOCAL_SIGNATURE, CENTRAL_SIGNATURE, END_SIGNATURE = 0x04034B50, 0x02014B50, 0x06054B50

VERSION_NEEDED = 20
MADE_BY = (3 << 8) | VERSION_NEEDED  # Unix, so that the file mode below is understood
DATE = 0x0021  # 1980-01-01, the earliest a zip can say: same inputs, same bytes
MODE = 0o100644 << 16  # a plain file, readable, never executable
ENCRYPTED = 0x0001

FOREIGN = (
    (b"\x1f\x8b", "a gzip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"7z\xbc\xaf", "a 7-Zip file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for"),
    (b"<", "a web page or an XML file"),
)


@dataclass(frozen=True)
class Entry:
    """One member as its headers describe it; `size` in bytes."""

    name: str
    crc: int
    size: int

    def local(self) -> bytes:
        name = self.name.encode("ascii")
        head = (LOCAL_SIGNATURE, VERSION_NEEDED, 0, 0, 0, DATE, self.crc, self.size, self.size, len(name), 0)
        return LOCAL.pack(*head) + name

    def central(self, offset: int) -> bytes:
        name = self.name.encode("ascii")
        head = (CENTRAL_SIGNATURE, MADE_BY, VERSION_NEEDED, 0, 0, 0, DATE, self.crc, self.size, self.size)
        return CENTRAL.pack(*head, len(name), 0, 0, 0, 0, MODE, offset) + name


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of `members`, in their order. Names are ASCII without separators; the caller keeps to its caps."""
    body, directory = bytearray(), bytearray()
    for name, data in members.items():
        entry = Entry(name, zlib.crc32(data), len(data))
        directory += entry.central(len(body))
        body += entry.local() + data
    count = len(members)
    end = END.pack(END_SIGNATURE, 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def unpack(data: bytes, caps: Mapping[str, int], where: object) -> dict[str, memoryview]:
    """Name -> contents, as views into `data`: nothing is copied, decompressed or written.

    `caps` names every member that may exist, in the only order allowed, with its largest size in bytes.

    Raises:
        BundleError: the bytes are not exactly what `pack` makes of some allowed members.
    """
    _refuse_foreign(data, where)
    count, directory_start, directory_end = _read_end(data, len(caps), where)
    order = {name: place for place, name in enumerate(caps)}
    members: dict[str, memoryview] = {}
    offset, cursor, last = 0, directory_start, -1
    for _ in range(count):
        entry, cursor = _read_entry(data, cursor, directory_end, offset, caps, where)
        if order[entry.name] <= last:
            found = "twice" if entry.name in members else "out of order"
            raise BundleError(
                f"member {entry.name} is there {found}",
                where=where,
                expected=f"each once, in the order {', '.join(caps)}",
            )
        last = order[entry.name]
        local = entry.local()
        start = offset + len(local)
        offset = start + entry.size
        if offset > directory_start:
            raise BundleError(
                f"member {entry.name} is cut off",
                where=where,
                found=f"an end at byte {offset}",
                expected=f"at most {directory_start}",
                todo="Copy the file again",
            )
        if data[start - len(local) : start] != local:
            raise BundleError(
                f"the header of {entry.name} contradicts the directory", where=where, todo="Copy the file again"
            )
        view = memoryview(data)[start:offset]
        if zlib.crc32(view) != entry.crc:
            raise BundleError(
                f"member {entry.name} is damaged",
                where=where,
                found=f"checksum {zlib.crc32(view):08x}",
                expected=f"{entry.crc:08x}",
                todo="Copy the file again",
            )
        members[entry.name] = view
    if cursor != directory_end or offset != directory_start:
        hidden = (directory_end - cursor) + (directory_start - offset)
        raise BundleError("holds bytes that belong to no member", where=where, found=f"{hidden} bytes", expected="none")
    return members


def _refuse_foreign(data: bytes, where: object) -> None:
    if not data:
        raise BundleError("is empty", where=where, expected="a .myosem bundle", todo="Copy the file again")
    if data[:4] == LOCAL_SIGNATURE.to_bytes(4, "little"):
        return
    found = next((words for start, words in FOREIGN if data.startswith(start)), f"a file starting {data[:4].hex(' ')}")
    raise BundleError(
        "is not a bundle", where=where, found=found, expected="a .myosem bundle, which starts 50 4b 03 04"
    )


def _read_end(data: bytes, most: int, where: object) -> tuple[int, int, int]:
    """Member count, and where the central directory starts and ends."""
    mark = END_SIGNATURE.to_bytes(4, "little")
    directory_end = len(data) - END.size
    if directory_end < 0 or data[directory_end : directory_end + 4] != mark:
        last = data.rfind(mark)
        if 0 <= last < directory_end:
            extra = directory_end - last
            raise BundleError("has bytes after its end", where=where, found=f"{extra} bytes", expected="none")
        raise BundleError(
            "is truncated", where=where, found=f"{len(data)} bytes without an end record", todo="Copy the file again"
        )
    _, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, directory_end)
    if disk or first_disk or here != count or comment:
        raise BundleError("has an end record that no bundle has", where=where, todo="Copy the file again")
    if not 0 < count <= most:
        raise BundleError("has a wrong number of members", where=where, found=count, expected=f"1 to {most}")
    if start + size != directory_end:
        raise BundleError(
            "has bytes that belong to nothing, or lacks some",
            where=where,
            found=f"a directory ending at byte {start + size}",
            expected=directory_end,
        )
    return count, start, directory_end


def _read_entry(
    data: bytes, cursor: int, directory_end: int, offset: int, caps: Mapping[str, int], where: object
) -> tuple[Entry, int]:
    """The directory entry at `cursor`, whose member must start at `offset`, and where the next entry starts."""
    if cursor + CENTRAL.size > directory_end:
        raise BundleError("has a directory that is cut off", where=where, todo="Copy the file again")
    fields = CENTRAL.unpack_from(data, cursor)
    flags, method, crc, packed, size, name_size = fields[3], fields[4], fields[7], fields[8], fields[9], fields[10]
    name_start = cursor + CENTRAL.size
    raw = data[name_start : min(name_start + name_size, directory_end)]
    name = raw.decode("ascii", "backslashreplace")
    if name not in caps:
        raise BundleError(
            "holds a member that no bundle has",
            where=where,
            found=ascii(name[:80]),
            expected=f"one of {', '.join(caps)}",
        )
    if flags & ENCRYPTED:
        raise BundleError(f"member {name} is encrypted", where=where, expected="plain members")
    if method:
        raise BundleError(f"member {name} is compressed", where=where, found=f"method {method}", expected="stored")
    if size > caps[name]:
        raise BundleError(
            f"member {name} is too large", where=where, found=f"{size} bytes", expected=f"at most {caps[name]}"
        )
    entry = Entry(name, crc, size)
    expected = entry.central(offset)
    if packed != size or data[cursor : cursor + len(expected)] != expected:
        raise BundleError(
            f"the directory entry of {name} is not one that a bundle has",
            where=where,
            found="other header fields, or hidden bytes before the member",
            expected=f"a plain member of {size} bytes at byte {offset}",
        )
    return entry, cursor + len(expected)
