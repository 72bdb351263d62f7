"""Whatever BrainFlow can read, through its library: a board for which there is no driver here, or its synthetic one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import FrontEndInfo
from myosem_edge.firmware_bridge.frontends.hosted import HostedFrontEnd
from myosem_edge.firmware_bridge.frontends.lsl import CLOCK_SHARE, UNKNOWN_FULL_SCALE
from myosem_edge.firmware_bridge.frontends.options import require_option

SUFFIX = "_BOARD"


class BrainFlow(HostedFrontEnd):
    """A board by BrainFlow's name or number; its EMG channels, or all of its channels where none are called that.

    `address` is that of a Bluetooth device; a playback board needs a `file` and its `master` board.

    Raises:
        InputError: BrainFlow knows no such board, or the board has no channel of muscle or brain.
        ModuleNotFoundError: BrainFlow is not installed.
    """

    info = FrontEndInfo(
        id="brainflow",
        name="A board that BrainFlow reads",
        channels=16,
        rate_hz=250.0,
        unit="uV",
        full_scale=UNKNOWN_FULL_SCALE,
        layout="sites",
        baud=0,
        prefiltered="what the board has done",
        loss_visible_by="time only",
    )
    first_frame_s = 10.0
    silent = "the board is connected but sends nothing: switch it off and on"
    foreign = silent

    def __init__(
        self,
        *,
        board: str,
        address: str | None = None,
        file: str | None = None,
        master: str | None = None,
        full_scale: float = UNKNOWN_FULL_SCALE,
        layout: Literal["sites", "ring"] = "sites",
    ) -> None:
        require_option(0 < full_scale <= 1e12, self.info.id, "full_scale", full_scale, "above 0, at most 1e12")
        self.board_id, name = _board(board)
        described = self.board_id if master is None else _board(master)[0]
        self.parameters = {"mac_address": address, "file": file}
        self.master_id = None if master is None else described
        self.rows, rate_hz = _description(described, name)
        self.clock_tolerance_samples = CLOCK_SHARE * rate_hz
        self.info = replace(
            self.info,
            name=f"BrainFlow board {name}",
            channels=len(self.rows),
            rate_hz=rate_hz,
            full_scale=full_scale,
            layout=layout,
        )
        super().__init__()


def library() -> Any:
    """The package. Raises ModuleNotFoundError where it is not installed."""
    try:
        import brainflow.board_shim
    except ModuleNotFoundError as error:
        if error.name != "pkg_resources":
            raise
        raise InputError(
            "BrainFlow needs an older setuptools with this Python", todo="Install it: pip install 'setuptools<81'"
        ) from error
    return brainflow.board_shim


def _board(told: str) -> tuple[int, str]:
    """Number and name."""
    known = {board.name.removesuffix(SUFFIX).lower(): int(board.value) for board in library().BoardIds}
    name = told.strip().removesuffix(SUFFIX.lower()).removesuffix(SUFFIX).lower()
    names = {str(number): each for each, number in known.items()}
    name = names.get(name, name)
    require_option(name in known, "brainflow", "board", repr(told), f"one of {', '.join(sorted(known))}")
    return known[name], name


def _description(board_id: int, name: str) -> tuple[list[int], float]:
    """Rows of BrainFlow's arrays that are EMG, and the rate."""
    shim = library()
    try:
        described = shim.BoardShim.get_board_descr(board_id)
        rows = described.get("emg_channels") or shim.BoardShim.get_exg_channels(board_id)
        return [int(row) for row in rows], float(described["sampling_rate"])
    except (shim.BrainFlowError, KeyError) as error:
        raise InputError(
            "this board has nothing to decode", where="brainflow", found=name, expected="EMG or other channels"
        ) from error
