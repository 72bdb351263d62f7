"""`myosem-edge collect`: record prompted sessions on any front end, to train a model of one's own on."""

from __future__ import annotations

import selectors
import sys
from dataclasses import asdict
from pathlib import Path

import click

from myosem_edge.calibration.collecting import Collecting
from myosem_edge.calibration.collection import FOLDER, add_session, require_addable
from myosem_edge.calibration.profile import LEFT, RIGHT, montage_of
from myosem_edge.calibration.session import CUES, Cue, Plan
from myosem_edge.cli._types import front_end_from, front_end_option, port_option, require_port
from myosem_edge.cli.calibrate import JsonScreen, LiveScreen, Screen, run_session
from myosem_edge.clock import MonotonicClock
from myosem_edge.errors import DeviceError, InputError
from myosem_edge.files import require_writable
from myosem_edge.firmware_bridge.ports import open_front_end
from myosem_edge.runtime.decision import REST

DEFAULT_ACTIONS = "fist,hand_open,wrist_flexion,wrist_extension,forearm_pronation,forearm_supination"
INTERRUPTED = 130


@click.command()
@port_option
@front_end_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help=f"Folder of data sets; recordings are added in its folder {FOLDER}.",
)
@click.option("--person", required=True, help="A pseudonym: letters, digits, dash, underscore.")
@click.option("--consent", help="What those who are recorded agreed to, in words; once for a collection.")
@click.option(
    "--side", type=click.Choice((RIGHT, LEFT)), default=RIGHT, show_default=True, help="The arm that wears it."
)
@click.option("--actions", metavar="A,B,C", default=DEFAULT_ACTIONS, show_default=True, help="What is asked for.")
@click.option("--repetitions", type=int, default=6, show_default=True, help="How often each action is asked for.")
@click.option("--hold-s", type=float, default=4.0, show_default=True, help="Seconds that each is held.")
@click.option("--prepare-s", type=float, default=1.5, show_default=True, help="Seconds from announcing to holding.")
@click.option("--relax-s", type=float, default=2.0, show_default=True, help="Seconds of rest after each.")
@click.option(
    "--cue",
    type=click.Choice(CUES),
    default="hand",
    show_default=True,
    help="For a person without that hand: mirrored by the other one, or imagined.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--dry-run", is_flag=True, help="Check port and folder, show the plan, prompt nobody.")
def collect(
    port: str | None,
    front_end_name: str,
    out: Path,
    person: str,
    consent: str | None,
    side: str,
    actions: str,
    repetitions: int,
    hold_s: float,
    prepare_s: float,
    relax_s: float,
    cue: Cue,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Record prompted repetitions on any front end, to train on.

    Every call is one donning: take the electrodes off and put them on again before the next one, best on another day.
    Each hold is judged at once and asked for again where it was not good. Ctrl-C keeps what was recorded until then.
    """
    from myosem_edge.actions.catalogue import load_catalogue

    catalogue = load_catalogue()
    wanted = tuple(name.strip() for name in actions.split(",") if name.strip())
    if unknown := [name for name in wanted if name not in catalogue.ids]:
        raise InputError(f"'{unknown[0]}' is not in the catalogue", todo="See: myosem-edge actions list")
    plan = Plan(wanted, repetitions, hold_s, prepare_s, relax_s, cue)
    names = {action: catalogue[action].name for action in plan.actions}
    device, front_end_name = front_end_from(front_end_name, port)
    where, clock = require_port(device, port), MonotonicClock()
    folder, montage = out / FOLDER, montage_of(device.info)
    consent = require_addable(folder, person, montage, consent)
    screen = JsonScreen() if as_json else LiveScreen() if sys.stdout.isatty() else Screen()
    with open_front_end(device, port, clock) as wire:
        if dry_run:
            screen.result(
                {"plan": asdict(plan), "folder": str(folder)},
                f"{len(plan.steps)} holds, about {plan.duration_s / 60:.0f} min, into {folder}. Nothing was prompted.",
            )
            return
        folder.mkdir(parents=True, exist_ok=True)
        require_writable(folder / f"{person}.npz")
        session = Collecting(plan, device.info, 1, names)
        with selectors.DefaultSelector() as selector:
            selector.register(wire, selectors.EVENT_READ)
            try:
                run_session(session, device, wire, clock, selector.select, screen, where=where)
            except (KeyboardInterrupt, DeviceError) as stopped:
                if session.cues:  # what was done well is kept, whatever ended the session
                    finish(session, folder, person, side, consent, screen)
                if isinstance(stopped, KeyboardInterrupt):
                    sys.exit(INTERRUPTED)
                raise
    finish(session, folder, person, side, consent, screen)


def finish(session: Collecting, folder: Path, person: str, side: str, consent: str, screen: Screen) -> None:
    """Keep what a session recorded, and say what that is."""
    recorded = session.recorded()
    montage = montage_of(session.device)
    number = add_session(folder, person, montage, side, consent, recorded)
    good = [cue for cue in session.cues if cue.good]
    counts = {action: sum(cue.action == action for cue in good) for action in session.plan.actions}
    seconds = sum(map(len, recorded.recordings)) / montage.rate_hz
    facts = {
        "person": person,
        "session": number,
        "folder": str(folder),
        "seconds": round(seconds, 1),
        "holds": counts,
        "left_out": [f"{action} {repetition}" for action, repetition in session.skipped],
    }
    kept = ", ".join(f"{action} {count}" for action, count in counts.items() if action != REST)
    screen.result(
        facts,
        f"Session {number} of {person}: {seconds:.0f} s, good holds: {kept}.\n"
        f"Next: another session, or myosem-edge train --family own --init shipped --data {folder.parent}",
    )
