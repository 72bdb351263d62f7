"""EMG acquisition devices, by name."""

from __future__ import annotations

import difflib

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.frontends.cyton import Cyton, CytonDaisy
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.frontends.myosem_wire import MyosemWire

FRONT_ENDS: dict[str, type[FrontEnd]] = {driver.info.id: driver for driver in (Cyton, CytonDaisy, Myo, MyosemWire)}


def front_end(name: str) -> type[FrontEnd]:
    """The driver of that name.

    Raises:
        InputError: there is none; names the nearest one.
    """
    try:
        return FRONT_ENDS[name]
    except KeyError:
        near = difflib.get_close_matches(name, FRONT_ENDS, n=1)
        raise InputError(
            "no such front end",
            found=repr(name),
            expected=" or ".join(sorted(FRONT_ENDS)),
            todo=f"Did you mean {near[0]!r}?" if near else None,
        ) from None
