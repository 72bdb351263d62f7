"""The port of a board that BrainFlow reads."""

from __future__ import annotations

import numpy as np

from myosem_edge.errors import DeviceError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.brainflow import BrainFlow, library
from myosem_edge.firmware_bridge.frontends.chunk_stream import pack_chunk
from myosem_edge.firmware_bridge.host_port import HostPort

BUFFER_SAMPLES = 45_000  # the library's own choice


class BrainFlowPort(HostPort):
    """A session with the board; `path` is its serial port, where it has one.

    Raises:
        DeviceError: the library cannot open the board. Later, from `read_available`: it has failed.
    """

    def __init__(self, front_end: BrainFlow, path: str | None) -> None:
        self._shim = library()
        parameters = self._shim.BrainFlowInputParams()
        for name, value in (front_end.parameters | {"serial_port": path}).items():
            if value is not None:
                setattr(parameters, name, value)
        if front_end.master_id is not None:
            parameters.master_board = front_end.master_id
        self._where, self._rows = front_end.info.name, front_end.rows
        self._shim.BoardShim.disable_board_logger()
        self._board = self._shim.BoardShim(front_end.board_id, parameters)
        self._streaming, self._next = False, 0
        try:
            self._board.prepare_session()
        except self._shim.BrainFlowError as error:
            raise self._failed("cannot be opened", error) from error
        super().__init__()

    def start(self) -> None:
        try:
            if self._streaming:
                self._board.get_board_data()  # older than the start
            else:
                self._board.start_stream(BUFFER_SAMPLES)
        except self._shim.BrainFlowError as error:
            raise self._failed("does not start", error) from error
        self._streaming = True

    def stop(self) -> None:
        if self._streaming:
            self._streaming = False
            self._quietly(self._board.stop_stream)

    def read_available(self) -> bytes:
        if not self._streaming:
            return b""
        try:
            data = self._board.get_board_data()
        except self._shim.BrainFlowError as error:
            self._streaming = False
            raise self._failed("has failed", error) from error
        samples = np.ascontiguousarray(data[self._rows].T, np.float32)
        if not len(samples):
            return b""
        first, self._next = self._next, self._next + len(samples)
        return pack_chunk(Chunk(samples, first, 0.0))

    def close(self) -> None:
        super().close()
        self._quietly(self._board.release_session)

    def _failed(self, what: str, error: Exception) -> DeviceError:
        found = " ".join(str(error).split())
        return DeviceError(what, where=self._where, found=found, todo="Check its power, its port and its address")

    def _quietly(self, do: object) -> None:
        """The end of a session that may be gone already."""
        try:
            do()  # type: ignore[operator]
        except self._shim.BrainFlowError:
            return
