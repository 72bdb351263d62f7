"""`myosem-edge grips test`: every grip on the hand itself, one after another, before any EMG is involved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from myosem_edge.cli._limits import hand_limits, tightened
from myosem_edge.cli._output import json_option, plain, print_json, table
from myosem_edge.cli._types import FiniteRange, hand_from, presets_option
from myosem_edge.errors import InputError

if TYPE_CHECKING:
    from myosem_edge.firmware_bridge.hands.base import Hand
    from myosem_edge.runtime.limits import Limits
    from myosem_edge.runtime.loop import Loop
    from myosem_edge.runtime.trial import Trial, TrialKeys

STDIN = 0
LONGEST_S = 600.0  # of a rehearsal, in the time of the emulated hand
ARM_AFTER_S = 1.5
SHARE = FiniteRange(0, 1, min_open=True)


@dataclass
class Sent:
    """A frame that would leave, so often in a row; `after_s` is counted from the first one of its grip."""

    frame: bytes
    begun_s: float
    after_s: float
    times: int = 1


@click.command(name="test")
@click.argument("hand_name", metavar="HAND")
@click.option("--port", metavar="PORT", help="Serial port of the hand.")
@click.option("--grip", "wanted", multiple=True, metavar="NAME", help="Only this grip; may be given again.")
@click.option("--grips", "file", type=click.Path(path_type=Path), help="The grips of this map; else all of the hand.")
@presets_option
@click.option("--speed", type=SHARE, default=0.3, show_default=True, help="Of the hand's own maximum.")
@click.option("--force", type=SHARE, default=0.3, show_default=True, help="Of the hand's own maximum, if it has one.")
@click.option("--yes", is_flag=True, help="Do not ask before each grip.")
@click.option("--keys-from-stdin", is_flag=True, help="Take keys from a pipe on standard input, too.")
@click.option("--dry-run", is_flag=True, help="Try them on the emulated hand, show what would be sent; open no port.")
@json_option
def trial(
    hand_name: str,
    port: str | None,
    wanted: tuple[str, ...],
    file: Path | None,
    presets_path: Path | None,
    speed: float,
    force: float,
    yes: bool,
    keys_from_stdin: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Close HAND into each grip, open it again, and say what became of it.

    Nothing moves until you press a, and no grip closes before you press n, unless --yes; n during a grip ends it.
    Space or s stops, and a goes on: the hand opens before the next grip. o opens, l locks, q and Ctrl-C end. Everything
    passes the same gate, limits, whitelist and guard as in run; nothing is decoded.
    """
    hand = hand_from(hand_name, presets_path)
    limits = tightened(hand_limits(hand.info.limits), speed, force)
    grips = _grips(hand, wanted, file)
    if dry_run:
        _rehearse(hand, grips, limits, as_json)
        return
    if port is None:
        raise click.UsageError("--port is missing; --dry-run needs none")
    _drive(hand, port, grips, limits, yes, keys_from_stdin, as_json)


def _grips(hand: Hand, wanted: tuple[str, ...], file: Path | None) -> tuple[str, ...]:
    """Which grips are tried, in the hand's order.

    Raises:
        InputError: the hand does not know one, or the map cannot be read.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import OPEN, load_hand_map, no_wrist

    known = tuple(grip for grip in hand.info.grips if grip != OPEN)
    for grip in wanted:
        if grip not in known:
            raise InputError(f"the {hand.info.name} does not know this grip", found=grip, expected=", ".join(known))
    mapped = frozenset(known)
    if file is not None:
        grip_map, unable = load_hand_map(file, load_catalogue().ids, hand.info)
        mapped = grip_map.grips()
        if unable:
            click.echo(plain(f"warning: {no_wrist(hand.info, unable)}"), err=True)
    chosen = tuple(grip for grip in known if grip in mapped and (grip in wanted or not wanted))
    if not chosen:
        raise InputError("no grip is left to try", where=file, found=", ".join(wanted) or "a map that closes nothing")
    return chosen


def _made(
    hand: Hand, grips: tuple[str, ...], limits: Limits, as_json: bool, keys: TrialKeys | None = None, asks: bool = False
) -> tuple[Trial, Loop]:
    from myosem_edge.firmware_bridge.hands.base import Neutral
    from myosem_edge.runtime.health import SampleHealth
    from myosem_edge.runtime.loop import Loop
    from myosem_edge.runtime.trial import Metronome, Trial

    front_end = Metronome()
    trial = Trial(
        grips, front_end, lambda sentence: click.echo(plain(sentence), err=as_json), hand.formed_deg, keys, asks
    )
    health = SampleHealth(front_end.info, checks=False)
    return trial, Loop(front_end, hand, trial, trial.grip_map(), limits, Neutral.FREEZE, health=health)


def _drive(
    hand: Hand, port: str, grips: tuple[str, ...], limits: Limits, yes: bool, keys_from_stdin: bool, as_json: bool
) -> None:
    import os

    from myosem_edge.clock import MonotonicClock
    from myosem_edge.firmware_bridge.port import SerialPort
    from myosem_edge.runtime.guard_process import Guard
    from myosem_edge.runtime.links import Link
    from myosem_edge.runtime.loop import FRONT_END, HAND
    from myosem_edge.runtime.runner import ENDED, OVER, Runner, Signals
    from myosem_edge.runtime.trial import NEXT_HELP, NoPort, TrialKeys
    from myosem_edge.runtime.watchdog import Notifier
    from myosem_edge.runtime.wearer_input import HELP, WearerInput

    keys = TrialKeys()
    trial, loop = _made(hand, grips, limits, as_json, keys, asks=not yes)
    links = (Link(FRONT_END, "none", NoPort), Link(HAND, port, lambda: SerialPort(port, hand.info.baud)))

    def start_guard(hand_fd: int) -> Guard:
        outlet = loop.outlet
        return Guard.start(hand_fd, outlet.neutral_frame, halt=outlet.halt_frame, release=outlet.release_frame)

    try:
        for link in links:
            link.open()
        click.echo(f"{hand.info.name} on {port}: {', '.join(grips)}", err=as_json)
        click.echo(f"Keep clear of the hand. {HELP}   {NEXT_HELP}", err=as_json)
        with Signals() as signals, WearerInput(STDIN, from_pipe=keys_from_stdin, keys=keys) as wearer:
            if not wearer.listening:
                raise InputError(
                    "nobody could press a key, and without one the hand never moves",
                    where="standard input",
                    todo="Start it on a terminal, or pipe keys to it with --keys-from-stdin",
                )
            notifier = Notifier.from_env(os.environ)
            runner = Runner(loop, *links, wearer, trial, notifier, MonotonicClock(), start_guard)
            ended = runner.run(None, signals)
    finally:
        for link in links:
            link.close()
    _tell(trial, as_json)
    if ended == ENDED and signals.interrupted:
        raise KeyboardInterrupt
    if ended != OVER:
        click.echo("ended before every grip was tried", err=True)


def _rehearse(hand: Hand, grips: tuple[str, ...], limits: Limits, as_json: bool) -> None:
    """The whole trial on the emulated hand, on a clock of its own."""
    from myosem_edge.clock import VirtualClock
    from myosem_edge.firmware_bridge.emulators import EMULATED_HANDS
    from myosem_edge.runtime.gate import Wearer
    from myosem_edge.runtime.loop import TICK_S

    class Awake:
        def beat(self, locked: bool = False) -> bool:
            return True

    trial, loop = _made(hand, grips, limits, True)
    emulator, clock = EMULATED_HANDS[hand.info.id](), VirtualClock()
    loop.guard = Awake()
    frames: dict[str, list[Sent]] = {grip: [] for grip in grips}
    unmoving = {loop.outlet.neutral_frame}
    unmoving |= {hand.poll(), hand.poll()}  # an Ability Hand has two, which take turns
    begun_s = clock.now_s()
    out = loop.start(begun_s)
    while not out.over and clock.now_s() - begun_s < LONGEST_S:
        for frame in out.hand_out:
            emulator.receive(frame, clock.now_s())
            if trial.closing is not None and frame not in unmoving:
                _note(frames[trial.closing], frame, clock.now_s())
        trial.send(out.events)
        now_s = clock.advance(TICK_S)
        emulator.tick(now_s)
        arm = 0 <= now_s - begun_s - ARM_AFTER_S < TICK_S
        out = loop.cycle(now_s, b"", emulator.to_send(), Wearer(arm=arm))
    _tell(trial, as_json, frames)


def _note(sent: list[Sent], frame: bytes, now_s: float) -> None:
    if sent and sent[-1].frame == frame:
        sent[-1].times += 1
        return
    begun_s = sent[0].begun_s if sent else now_s
    sent.append(Sent(frame, begun_s, round(now_s - begun_s, 3)))


def _tell(trial: Trial, as_json: bool, frames: dict[str, list[Sent]] | None = None) -> None:
    found: list[dict[str, Any]] = [asdict(tried) for tried in trial.tried]
    for each in found:
        if frames is not None:
            sent = frames[each["grip"]]
            each["frames"] = [{"s": one.after_s, "hex": one.frame.hex(" "), "times": one.times} for one in sent]
    if as_json:
        print_json(found)
        return
    rows = []
    for each in found:
        degrees = " ".join(f"{value:.0f}" for value in each["position_deg"].values())
        amperes = max((abs(value) for value in each["current_a"].values()), default=None)
        rows.append([each["grip"], each["outcome"], f"{each['seconds']:.1f}", degrees, _number(amperes, 2)])
    click.echo(table(rows, ["grip", "outcome", "seconds", "reported, deg", "most current, A"]))
    for grip, sent in (frames or {}).items():
        click.echo(f"\n{grip}: {sum(one.times for one in sent)} frames; when, how often in a row, the bytes")
        for one in sent:
            click.echo(f"{one.after_s:7.3f} s  {one.times:3d} x  {one.frame.hex(' ')}")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
