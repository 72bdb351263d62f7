"""Which port a front end has: a serial one, or an object that looks like one."""

from __future__ import annotations

from myosem_edge.clock import Clock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.frontends.file import Playback
from myosem_edge.firmware_bridge.host_port import HostPort
from myosem_edge.firmware_bridge.playback import PlaybackPort
from myosem_edge.firmware_bridge.port import SerialPort


def require_path(front_end: FrontEnd, path: str | None) -> str:
    """Where the front end is: `path`, or in words for one that has no port of its own.

    Raises:
        InputError: a path is missing, or there is one too many.
    """
    if isinstance(front_end, Playback):
        if path is not None:
            raise InputError(f"a {front_end.info.name} has no port", found=path, todo="Leave --port out")
        return front_end.path
    if path is None:
        raise InputError(f"on which port is the {front_end.info.name}?", todo="Say --port PORT")
    return path


def open_front_end(front_end: FrontEnd, path: str | None, clock: Clock) -> SerialPort | HostPort:
    """The open port of a front end.

    Raises:
        InputError: as `require_path`.
        DeviceError: it cannot be opened.
    """
    where = require_path(front_end, path)
    if isinstance(front_end, Playback):
        return PlaybackPort(front_end.recorded, clock)
    return SerialPort(where, front_end.info.baud)
