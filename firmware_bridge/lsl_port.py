"""The port of a Lab Streaming Layer stream: found when it is opened, and found again by the library itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from myosem_edge.errors import DeviceError, InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.chunk_stream import pack_chunk
from myosem_edge.firmware_bridge.frontends.lsl import Lsl
from myosem_edge.firmware_bridge.host_port import HostPort

FIND_S = 5.0
BUFFER_S = 1  # what waits longer than that for a hand is too old
MOST_SAMPLES = 4096


class LslPort(HostPort):
    """Raises:
    DeviceError: no such stream, or it is not what was told.
    InputError: the library's own library is missing.
    ModuleNotFoundError: pylsl is not installed.
    """

    def __init__(self, front_end: Lsl) -> None:
        lsl = library()
        streams = lsl.resolve_byprop("name", front_end.name, timeout=FIND_S)
        where = f"stream {front_end.name}"
        if not streams:
            raise DeviceError("no such stream", where=where, todo="Start its sender; names are told exactly")
        if len(streams) > 1:
            hosts = ", ".join(stream.hostname() for stream in streams)
            raise DeviceError("several streams have that name", where=where, found=hosts, todo="Rename one of them")
        info = front_end.info
        for what, found, expected in (
            ("channels", streams[0].channel_count(), info.channels),
            ("rate_hz", streams[0].nominal_srate(), info.rate_hz),
        ):
            if found != expected:
                todo = f"Tell it: lsl:name={front_end.name},{what}={found:g}"
                raise DeviceError(
                    f"the stream has other {what}", where=where, found=found, expected=expected, todo=todo
                )
        if streams[0].channel_format() == lsl.cf_string:
            raise DeviceError("the stream is text", where=where)
        super().__init__()
        self._inlet = lsl.StreamInlet(streams[0], max_buflen=BUFFER_S, recover=True)
        try:
            self._inlet.open_stream(timeout=FIND_S)
        except (lsl.LostError, lsl.TimeoutError) as error:
            self.close()
            raise DeviceError("the stream cannot be opened", where=where, found=str(error)) from error
        self._scale, self._channels = front_end.scale, info.channels
        self._wanted, self._next = False, 0

    def start(self) -> None:
        self._inlet.flush()
        self._wanted = True

    def stop(self) -> None:
        self._wanted = False

    def read_available(self) -> bytes:
        if not self._wanted:
            return b""
        rows, _ = self._inlet.pull_chunk(timeout=0.0, max_samples=MOST_SAMPLES)
        if not len(rows):
            return b""
        samples = np.asarray(rows, np.float32).reshape(-1, self._channels) * np.float32(self._scale)
        first, self._next = self._next, self._next + len(samples)
        return pack_chunk(Chunk(samples, first, 0.0))

    def close(self) -> None:
        super().close()
        self._inlet.close_stream()


def library() -> Any:
    """Raises:
    InputError: pylsl does not find liblsl.
    """
    try:
        import pylsl
    except RuntimeError as error:
        raise InputError("pylsl does not find its library liblsl", todo="Install liblsl for this machine") from error
    return pylsl
