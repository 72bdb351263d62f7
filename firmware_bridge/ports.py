"""Which port a front end has: a serial one, or an object that looks like one."""

from __future__ import annotations

from myosem_edge.clock import Clock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.brainflow_port import BrainFlowPort
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.frontends.brainflow import BrainFlow
from myosem_edge.firmware_bridge.frontends.file import Playback
from myosem_edge.firmware_bridge.frontends.lsl import Lsl
from myosem_edge.firmware_bridge.host_port import HostPort
from myosem_edge.firmware_bridge.lsl_port import LslPort
from myosem_edge.firmware_bridge.playback import PlaybackPort
from myosem_edge.firmware_bridge.port import SerialPort


def require_path(front_end: FrontEnd, path: str | None) -> str:
    """Where the front end is: `path`, or in words for one that has no port of its own.

    Raises:
        InputError: a path is missing, or there is one too many.
    """
    if isinstance(front_end, Playback | Lsl):
        if path is not None:
            raise InputError(f"the {front_end.info.name} has no port", found=path, todo="Leave --port out")
        return front_end.path if isinstance(front_end, Playback) else front_end.info.name
    if path is None and isinstance(front_end, BrainFlow):
        return front_end.info.name
    if path is None:
        raise InputError(f"on which port is the {front_end.info.name}?", todo="Say --port PORT")
    return path


def open_front_end(front_end: FrontEnd, path: str | None, clock: Clock) -> SerialPort | HostPort:
    """The open port of a front end. Finding a stream or a board of a library can take some seconds.

    Raises:
        InputError: as `require_path`.
        DeviceError: it cannot be opened.
        ModuleNotFoundError: a library that it needs is not installed.
    """
    where = require_path(front_end, path)
    if isinstance(front_end, Playback):
        return PlaybackPort(front_end.recorded, clock)
    if isinstance(front_end, Lsl):
        return LslPort(front_end)
    if isinstance(front_end, BrainFlow):
        return BrainFlowPort(front_end, path)
    return SerialPort(where, front_end.info.baud)
