"""`myosem-edge run`: decode EMG and drive the hand."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from myosem_edge import __version__
from myosem_edge.cli._limits import hand_limits, tightened
from myosem_edge.cli._output import plain, print_json, table
from myosem_edge.cli._types import (
    FiniteRange,
    backend_option,
    front_end_from,
    front_end_option,
    hand_from,
    port_option,
    presets_option,
    require_port,
)
from myosem_edge.cli.run_texts import end_text, grip_rows, start_text
from myosem_edge.errors import InputError, MyosemError, RefusedError, StorageError

if TYPE_CHECKING:  # imported where they are used: a wrong option must not wait for an encoder
    from myosem_edge.bundle import Bundle
    from myosem_edge.firmware_bridge.frontends.base import FrontEnd
    from myosem_edge.firmware_bridge.hands.base import Hand
    from myosem_edge.firmware_bridge.port import SerialPort
    from myosem_edge.runtime.buttons import Buttons
    from myosem_edge.runtime.grips import GripMap
    from myosem_edge.runtime.limits import Limits
    from myosem_edge.runtime.links import Link
    from myosem_edge.runtime.loop import Decodes, Loop
    from myosem_edge.runtime.match import Enrolment

PSEUDO_TERMINALS = "/dev/pts/"
STDIN = 0
_FILE = click.Path(path_type=Path)
_SHARE = FiniteRange(0, 1, min_open=True)


@dataclass(frozen=True)
class Chosen:
    """What the options amount to, after every check that needs no device."""

    bundle: Bundle
    front_end: FrontEnd
    hand: Hand
    grip_map: GripMap
    limits: Limits
    names: dict[str, str]
    enrolment: Enrolment | None
    facts: dict[str, Any]  # what a log has to know of this session


@click.command()
@click.option("--bundle", "bundle_path", type=_FILE, required=True, help="The bundle to decode with.")
@port_option
@front_end_option
@click.option("--hand", "hand_name", default="ability", show_default=True, help="Which hand.")
@click.option("--hand-port", required=True, metavar="PORT", help="Serial port of the hand.")
@click.option("--profile", metavar="NAME", help="The wearer's profile, made by calibrate.")
@click.option("--no-profile", is_flag=True, help="Nobody is calibrated: descriptions alone decide (the default).")
@click.option("--grips", "grips_path", type=_FILE, metavar="FILE", help="Grip map instead of the bundle's own.")
@presets_option
@click.option(
    "--neutral",
    type=click.Choice(["freeze", "relax", "open"]),
    default="freeze",
    show_default=True,
    help="What the hand does when it is told nothing.",
)
@click.option("--max-speed", type=_SHARE, metavar="0..1", help="Tighter speed limit, of the hand's own maximum.")
@click.option("--max-force", type=_SHARE, metavar="0..1", help="Tighter force limit, of the hand's own maximum.")
@click.option(
    "--co-contraction",
    type=click.Choice(["stop", "lock"]),
    is_flag=False,
    flag_value="stop",
    help="Tensing every muscle at once for 0.4 s stops the hand, or locks and unlocks it; needs a profile.",
)
@backend_option
@click.option("--board", "board_name", metavar="NAME", help="Board profile instead of the one found.")
@click.option("--seconds", type=FiniteRange(0, min_open=True), metavar="N", help="End by itself after so long.")
@click.option("--log", type=_FILE, metavar="FILE", help="Keep a log; it holds everything the gate was told, no EMG.")
@click.option(
    "--log-mib",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    metavar="N",
    help="How large the log may become; the oldest half then goes.",
)
@click.option("--record-emg", is_flag=True, help="Keep the EMG in the log, too: who it is of can be told from it.")
@click.option("--keys-from-stdin", is_flag=True, help="Take keys from a pipe on standard input, too.")
@click.option(
    "--gpio",
    metavar="CHIP:stop=LINE,...",
    help="Buttons: stop, open, arm, lock on lines of a chip, each to ground (/dev/gpiochip0:stop=17,open=27,arm=22).",
)
@click.option("--json", "as_json", is_flag=True, help="Print every event as a line of JSON.")
@click.option("--allow-dev-key", is_flag=True, help="Let a bundle with a development signature move a real hand.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check everything, open both ports, say what would happen; send nothing but what --front-end auto asks.",
)
def run(
    bundle_path: Path,
    port: str | None,
    front_end_name: str,
    hand_name: str,
    hand_port: str,
    profile: str | None,
    no_profile: bool,
    grips_path: Path | None,
    presets_path: Path | None,
    neutral: str,
    max_speed: float | None,
    max_force: float | None,
    co_contraction: Literal["stop", "lock"] | None,
    backend: str,
    board_name: str | None,
    seconds: float | None,
    log: Path | None,
    log_mib: int,
    record_emg: bool,
    keys_from_stdin: bool,
    gpio: str | None,
    as_json: bool,
    allow_dev_key: bool,
    dry_run: bool,
) -> None:
    """Decode EMG and drive the hand, once you have armed it.

    The hand stays still until you press a, or the arm button. Space or s stops it, o opens it, l locks it as it is
    until you press l again or open it, q ends. Ctrl-C ends too; the hand gets its neutral first.
    """
    if profile is not None and no_profile:
        raise click.UsageError("--profile and --no-profile contradict each other")
    if record_emg and log is None:
        raise click.UsageError("--record-emg needs --log: that is where the EMG goes")
    from myosem_edge.firmware_bridge.hands.base import Neutral
    from myosem_edge.runtime.baseline import baseline_of
    from myosem_edge.runtime.buttons import button_spec, open_buttons
    from myosem_edge.runtime.co_contraction import CoContraction
    from myosem_edge.runtime.health import SampleHealth
    from myosem_edge.runtime.loop import Loop

    wanted = None if gpio is None else button_spec(gpio)
    hand = hand_from(hand_name, presets_path)
    chosen = _choose(bundle_path, front_end_name, port, hand, profile, grips_path, backend, board_name)
    chosen.facts["presets"] = None if presets_path is None else str(presets_path)
    limits = tightened(chosen.limits, max_speed, max_force)
    require_emulated(chosen.bundle, hand_port, allow_dev_key)
    for caution in (chosen.facts["foreign_front_end"], chosen.front_end.caution, chosen.facts["no_wrist"]):
        if caution:
            click.echo(plain(f"warning: {caution}"), err=True)
    chosen.facts.update(neutral=neutral, max_speed=limits.max_speed, max_force=limits.max_force, gpio=gpio)
    chosen.facts.update(record_emg=record_emg)
    decoder = make_decoder(chosen.bundle, chosen.enrolment, backend)
    baseline = baseline_of(chosen.enrolment) if chosen.enrolment else None
    tension = CoContraction(chosen.front_end.info.rate_hz, baseline, co_contraction) if co_contraction else None
    if tension is not None and not tension.usable:
        raise InputError(
            "co-contraction cannot be told from this wearer's grips",
            found="no profile" if baseline is None else "a grip that is loud on every electrode",
            todo="Leave --co-contraction out, or calibrate with other actions",
        )
    loop = Loop(
        chosen.front_end,
        chosen.hand,
        decoder,
        chosen.grip_map,
        limits,
        Neutral(neutral),
        chosen.names,
        log_inputs=log is not None,
        log_emg=record_emg,
        health=SampleHealth(chosen.front_end.info, baseline),
        co_contraction=tension,
    )
    front_end_link, hand_link = _links(chosen, port, hand_port, allow_dev_key)
    buttons = None
    try:
        front_end_link.open()
        hand_link.open()
        buttons = None if wanted is None else open_buttons(wanted)
        if dry_run:
            _tell_plan(chosen, as_json)
        else:
            _drive(chosen, loop, front_end_link, hand_link, buttons, seconds, log, log_mib, keys_from_stdin, as_json)
    finally:
        if buttons is not None:
            buttons.close()
        for link in (hand_link, front_end_link):
            link.close()


def require_emulated(bundle: Bundle, hand_port: str, allowed: bool) -> None:
    """A bundle that anybody on this machine could have signed drives emulated hands only.

    Raises:
        RefusedError: the hand's port is no pseudo-terminal, and nobody allowed it.
    """
    if bundle.is_dev and not allowed and not os.path.realpath(hand_port).startswith(PSEUDO_TERMINALS):
        raise _only_emulated(bundle, hand_port)


def open_hand(bundle: Bundle, path: str, baud: int, allowed: bool) -> SerialPort:
    """Open the hand's port, and see that it is what `require_emulated` took it for: names can change in between.

    Raises:
        DeviceError: it cannot be opened.
        RefusedError: as `require_emulated`.
    """
    from myosem_edge.firmware_bridge.port import SerialPort

    port = SerialPort(path, baud)
    if not bundle.is_dev or allowed or _is_emulated(port.fileno()):
        return port
    port.close()
    raise _only_emulated(bundle, path)


def _is_emulated(fd: int) -> bool:
    try:
        return os.ttyname(fd).startswith(PSEUDO_TERMINALS)
    except OSError:  # a terminal that has no name here
        return False


def _only_emulated(bundle: Bundle, hand_port: str) -> RefusedError:
    return RefusedError(
        "a development key signed this bundle, and that drives emulated hands only",
        where=hand_port,
        found=f"key {bundle.key_name}",
        todo="Have the bundle signed with another key, or say --allow-dev-key if you know what is in it",
    )


def make_decoder(bundle: Bundle, enrolment: Enrolment | None, backend: str) -> Decodes:
    """The decoder of a bundle.

    Raises:
        MyosemError: the encoder does not load, or the backend is not there.
    """
    from myosem_edge.runtime.decoder import Decoder, Model

    return Decoder(Model.from_bundle(bundle), enrolment, backend=backend)


def _choose(
    bundle_path: Path,
    front_end_name: str,
    port: str | None,
    hand: Hand,
    profile: str | None,
    grips_path: Path | None,
    backend: str,
    board_name: str | None,
) -> Chosen:
    from myosem_edge.boards.profiles import board, detect_board
    from myosem_edge.bundle import bundle_from
    from myosem_edge.calibration.profile import foreign_front_end, require_montage
    from myosem_edge.calibration.store import Store
    from myosem_edge.runtime.decoder import describe_gallery
    from myosem_edge.runtime.grips import load_hand_map, no_wrist

    here = board(board_name) if board_name else detect_board().board
    bundle = bundle_from(bundle_path)
    device, front_end_name = front_end_from(front_end_name, port)
    require_port(device, port)
    require_montage(bundle, device.info, calibrated=profile is not None)
    enrolment, created = None, None
    if profile is not None:
        store = Store.here()
        loaded = store.load(profile)
        loaded.require_fits(bundle, device.info, where=store.path(profile, "current"))
        enrolment, created = loaded.enrolment, loaded.created
    names = describe_gallery(bundle)
    inside = f"{bundle_path}: grips.toml"
    source: bytes | Path = grips_path or bundle.member("grips.toml")
    grip_map, unable = load_hand_map(source, tuple(names), hand.info, where=None if grips_path else inside)
    facts = {
        "version": __version__,
        "bundle": bundle.manifest.file_name,
        "bundle_sha256": bundle.sha256,
        "key": bundle.key_name,
        "dev_key": bundle.is_dev,
        "backend": backend,
        "board": here.name if here else None,
        "budget_ms": here.delay.total_ms if here else None,
        "front_end": front_end_name.partition(":")[0],
        "front_end_options": front_end_name.partition(":")[2] or None,
        "foreign_front_end": foreign_front_end(bundle, device.info) or None,
        "hand": hand.info.id,
        "no_wrist": no_wrist(hand.info, unable) or None,
        "profile": profile,
        "profile_created": created,
        "grips": None if grips_path is None else str(grips_path),
    }
    return Chosen(bundle, device, hand, grip_map, hand_limits(hand.info.limits), names, enrolment, facts)


def _links(chosen: Chosen, port: str | None, hand_port: str, allow_dev_key: bool) -> tuple[Link, Link]:
    """The ports of front end and hand, not open yet."""
    from myosem_edge.clock import MonotonicClock
    from myosem_edge.firmware_bridge.ports import open_front_end
    from myosem_edge.runtime.links import Link
    from myosem_edge.runtime.loop import FRONT_END, HAND

    front_end, clock, hand_baud = chosen.front_end, MonotonicClock(), chosen.hand.info.baud
    return (
        Link(FRONT_END, require_port(front_end, port), lambda: open_front_end(front_end, port, clock)),
        Link(HAND, hand_port, lambda: open_hand(chosen.bundle, hand_port, hand_baud, allow_dev_key)),
    )


def _drive(
    chosen: Chosen,
    loop: Loop,
    front_end: Link,
    hand: Link,
    buttons: Buttons | None,
    seconds: float | None,
    log: Path | None,
    log_mib: int,
    keys_from_stdin: bool,
    as_json: bool,
) -> None:
    from myosem_edge.clock import MonotonicClock
    from myosem_edge.runtime.gate_log import START
    from myosem_edge.runtime.guard_process import Guard
    from myosem_edge.runtime.runner import ENDED, Runner, Signals
    from myosem_edge.runtime.telemetry import Telemetry
    from myosem_edge.runtime.watchdog import Notifier
    from myosem_edge.runtime.wearer_input import WearerInput

    def start_guard(hand_fd: int) -> Guard:
        outlet = loop.outlet
        return Guard.start(hand_fd, outlet.neutral_frame, halt=outlet.halt_frame, release=outlet.release_frame)

    clock, notifier = MonotonicClock(), Notifier.from_env(os.environ)
    live = sys.stdout.isatty() and not as_json
    if not as_json:
        click.echo(start_text(chosen.facts))
    telemetry = Telemetry.start("json" if as_json else "live" if live else "lines", log, log_mib << 20)
    telemetry.send([{"event": START, "time_s": clock.now_s(), **chosen.facts, "gate": loop.judge.rules.to_dict()}])
    with Signals() as signals, WearerInput(STDIN, from_pipe=keys_from_stdin) as wearer:
        runner = Runner(loop, front_end, hand, wearer, telemetry, notifier, clock, start_guard, buttons=buttons)
        try:
            ended = runner.run(seconds, signals)
        except MyosemError:
            if telemetry.lost is not None:
                raise telemetry.lost from None
            raise
        finally:
            listened = telemetry.close()
    interrupted = ended == ENDED and signals.interrupted
    if telemetry.lost is not None and not interrupted:
        raise telemetry.lost
    if telemetry.lost is None and not as_json:
        click.echo(end_text(runner.summary, chosen.facts["budget_ms"]))
    if interrupted:
        raise KeyboardInterrupt
    if listened == StorageError.exit_code:
        raise StorageError("the log of this session is not complete", where=log, todo="The reason stands above")


def _tell_plan(chosen: Chosen, as_json: bool) -> None:
    rows = grip_rows(chosen.grip_map, chosen.names)
    header = ("action", "grip", "threshold", "why", "description")
    if as_json:
        print_json({**chosen.facts, "actions": [dict(zip(header, row, strict=True)) for row in rows]})
        return
    click.echo(start_text(chosen.facts))
    click.echo(table(rows, header))
    click.echo("dry run: both ports open, every check passed, nothing was sent")
