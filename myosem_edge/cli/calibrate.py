"""`myosem-edge calibrate` prompts the wearer and fits a profile; `myosem-edge profile` looks after the profiles."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import selectors
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from myosem_edge.bundle import Bundle, read_bundle
from myosem_edge.calibration.profile import LEFT, RIGHT, Profile, foreign_front_end, montage_of, require_montage
from myosem_edge.calibration.separation import enrol_separable
from myosem_edge.calibration.session import CUES, Cue, Plan, Prompt, Session
from myosem_edge.calibration.store import Store, Which
from myosem_edge.cli._output import json_option, plain, print_json, table
from myosem_edge.cli._types import backend_option, front_end_from, front_end_option, port_option, require_port
from myosem_edge.clock import Clock, MonotonicClock
from myosem_edge.errors import DeviceError, RefusedError
from myosem_edge.firmware_bridge.frontends.base import FrontEnd
from myosem_edge.firmware_bridge.ports import open_front_end
from myosem_edge.keys import trusted_keys
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.decoder import Model, describe_gallery
from myosem_edge.runtime.reading import Wire, introduction, read_chunks


class Screen:
    """Plain lines: one for each prompt. The wearer sees no countdown but is told how long."""

    def say(self, text: str) -> None:
        click.echo(plain(text))

    def prompt(self, prompt: Prompt, now_s: float) -> None:
        seconds = f" ({prompt.seconds:g} s)" if prompt.seconds else ""
        self.say(f"{prompt.text}{seconds}")

    def tick(self, now_s: float) -> None:
        """Let time pass on the screen."""

    def result(self, facts: Mapping[str, Any], text: str) -> None:
        self.say(text)


class LiveScreen(Screen):
    """A terminal: below each prompt its seconds run down."""

    def __init__(self) -> None:
        self._ends_s, self._left = 0.0, 0

    def prompt(self, prompt: Prompt, now_s: float) -> None:
        if self._left:  # the phase ended within a tick of its last second
            click.echo()
        self.say(prompt.text)
        self._ends_s, self._left = now_s + prompt.seconds, math.ceil(prompt.seconds) + 1
        self.tick(now_s)

    def tick(self, now_s: float) -> None:
        left = max(0, math.ceil(self._ends_s - now_s))
        if left < self._left:
            self._left = left
            click.echo(f"  {left}" if left else "", nl=not left)


class JsonScreen(Screen):
    """One JSON object a line, flushed at once: another program may be playing the wearer."""

    def say(self, text: str) -> None:
        self._line({"event": "note", "text": text})

    def prompt(self, prompt: Prompt, now_s: float) -> None:
        line = {name: getattr(prompt, name) for name in ("kind", "action", "repetition", "text", "seconds")}
        if prompt.verdict is not None:
            line |= {"ok": prompt.verdict.ok, "faults": list(prompt.verdict.faults)}
        self._line({"event": "prompt", **line, "time_s": now_s})

    def result(self, facts: Mapping[str, Any], text: str) -> None:
        self._line({"event": "result", **facts})

    def _line(self, value: Mapping[str, Any]) -> None:
        click.echo(json.dumps(value, allow_nan=False))
        sys.stdout.flush()


def run_session(
    session: Session,
    front_end: FrontEnd,
    wire: Wire,
    clock: Clock,
    wait: Callable[[float], object],
    screen: Screen,
    *,
    where: str,
) -> None:
    """Drive a session to its end. `wait(seconds)` returns when that time has passed or bytes have come.

    Raises:
        DeviceError: the front end fails, or sends no sample.
        RefusedError: a repetition stayed bad however often it was tried.
    """
    streaming = False
    with contextlib.closing(read_chunks(front_end, wire, clock, wait, where=where)) as reading:
        for now_s, chunks in reading:
            session.device.require_same(front_end.info)
            session.device = front_end.info  # its full scale may be another one
            session.feed(chunks, now_s)
            if chunks and not streaming:
                streaming = True
                screen.say(introduction(front_end))
            if streaming:
                for prompt in session.tick(now_s):
                    screen.prompt(prompt, now_s)
            screen.tick(now_s)
            if session.finished:
                break
        else:
            raise DeviceError("it ended before the session", where=where)
    if session.failure is not None:
        raise RefusedError(session.failure.rstrip("."), todo="What was accepted before is unchanged")


def learn(
    session: Session, bundle: Bundle, model: Model, *, mirrored: bool, backend: str, created: str, notes: str = ""
) -> Profile:
    """Fit what a finished session recorded.

    Raises:
        InputError: an action has too little usable signal.
        RefusedError: two actions cannot be told apart.
    """
    enrolment, report = enrol_separable(model, session.labelled(), mirrored=mirrored, backend=backend)
    info, manifest = session.device, bundle.manifest
    return Profile(info.id, montage_of(info), bundle.sha256, manifest.file_name, created, enrolment, report, notes)


def choose_actions(bundle: Bundle, model: Model, wanted: str | None) -> tuple[str, ...]:
    """The actions to calibrate: those named, comma-separated, else those of the bundle's grip map.

    Raises:
        InputError: an action has no description in the bundle.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.runtime.grips import load_grip_map

    catalogue, known = load_catalogue(), model.gallery.ids
    if wanted is not None:
        actions = tuple(name.strip() for name in wanted.split(",") if name.strip())
    else:
        where = f"{bundle.manifest.file_name}: grips.toml"
        grip_map = load_grip_map(bundle.member("grips.toml"), {*known, *catalogue.ids}, catalogue.grips, where=where)
        actions = tuple(action for action in grip_map.actions if action in known)
    model.gallery.rows((REST, *actions))
    return actions


def plain_names(bundle: Bundle, actions: tuple[str, ...]) -> dict[str, str]:
    """What to call each action: the catalogue's name, or the bundle's own for one that the catalogue lacks."""
    from myosem_edge.actions.catalogue import load_catalogue

    catalogue, described = load_catalogue(), describe_gallery(bundle)
    return {
        action: catalogue[action].name if action in catalogue.ids else described.get(action, action)
        for action in actions
    }


@click.command()
@click.option("--bundle", "bundle_path", type=click.Path(path_type=Path), required=True, help="The bundle to adapt.")
@port_option
@front_end_option
@click.option("--profile", "name", default="wearer", show_default=True, help="What to call the profile.")
@click.option(
    "--side", type=click.Choice((RIGHT, LEFT)), default=RIGHT, show_default=True, help="The arm that wears it."
)
@click.option("--actions", metavar="A,B,C", help="Actions to calibrate [default: those of the bundle's grip map].")
@click.option("--repetitions", type=int, default=1, show_default=True, help="How often each action is asked for.")
@click.option("--hold-s", type=float, default=3.0, show_default=True, help="Seconds that each is held.")
@click.option("--prepare-s", type=float, default=1.5, show_default=True, help="Seconds from announcing to holding.")
@click.option(
    "--cue",
    type=click.Choice(CUES),
    default="hand",
    show_default=True,
    help="For a wearer without that hand: mirrored by the other one, or imagined.",
)
@click.option("--accept", is_flag=True, help="Use the new profile at once instead of keeping it provisional.")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--dry-run", is_flag=True, help="Check bundle, port and montage, show the plan, prompt nobody.")
def calibrate(
    bundle_path: Path,
    port: str | None,
    front_end_name: str,
    name: str,
    side: str,
    actions: str | None,
    repetitions: int,
    hold_s: float,
    prepare_s: float,
    cue: Cue,
    accept: bool,
    backend: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Adapt a bundle to one wearer: a few seconds of each action, prompted.

    The new profile is provisional until it is accepted. Ctrl-C at any moment leaves everything as it was.
    """
    store = Store.here()
    store.path(name)
    device, front_end_name = front_end_from(front_end_name, port)
    where = require_port(device, port)
    bundle = read_bundle(bundle_path, trusted_keys())
    require_montage(bundle, device.info, calibrated=True)
    model = Model.from_bundle(bundle)
    model.encoder(backend=backend)  # a missing runtime is better found before the wearer has worked
    plan = Plan(choose_actions(bundle, model, actions), repetitions, hold_s, prepare_s, cue=cue)
    names = plain_names(bundle, plan.actions)
    screen = JsonScreen() if as_json else LiveScreen() if sys.stdout.isatty() else Screen()
    if foreign := foreign_front_end(bundle, device.info):
        screen.say(f"Warning: {foreign}.")
    clock = MonotonicClock()
    with open_front_end(device, port, clock) as wire:
        if dry_run:
            _show_plan(plan, names, screen, as_json)
            return
        session = Session(plan, device.info, model.filter.frame_samples, names)
        with selectors.DefaultSelector() as selector:
            selector.register(wire, selectors.EVENT_READ)
            run_session(session, device, wire, clock, selector.select, screen, where=where)
    screen.say("Fitting.")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    fitted = learn(session, bundle, model, mirrored=side == LEFT, backend=backend, created=now)
    path = store.save_provisional(name, fitted)
    if accept:
        path = store.accept(name)
        text = f"The profile {name} is in use from now on. Take it back: myosem-edge profile undo {name}"
    else:
        text = f"The new profile is provisional. Use it: myosem-edge profile accept {name}"
    facts = {"profile": name, "state": "current" if accept else "provisional", "path": str(path)}
    screen.result(facts | {"report": asdict(fitted.report)}, text)


def _show_plan(plan: Plan, names: Mapping[str, str], screen: Screen, as_json: bool) -> None:
    if as_json:
        screen.result({"plan": asdict(plan), "names": dict(names), "duration_s": plan.duration_s}, "")
        return
    click.echo(table([(action, names[action]) for action in plan.actions], ("action", "what to do")))
    times = "once" if plan.repetitions == 1 else f"{plan.repetitions} times"
    click.echo(f"Each {times}, {plan.hold_s:g} s held, about {plan.duration_s:.0f} s in all. Nothing was prompted.")


@click.group()
def profile() -> None:
    """A wearer's profile: show, accept, undo."""


_name = click.argument("name")
_which = click.option(
    "--which", type=click.Choice(get_args(Which)), default="current", show_default=True, help="Which of the three."
)


@profile.command("list")
@json_option
def list_profiles(as_json: bool) -> None:
    """List who has a profile."""
    store = Store.here()
    rows = {name: store.states(name) for name in store.names()}
    if as_json:
        print_json({name: list(states) for name, states in rows.items()})
    elif not rows:
        click.echo("No profiles. Make one: myosem-edge calibrate")
    else:
        click.echo(table([(name, ", ".join(states)) for name, states in rows.items()], ("profile", "has")))


@profile.command()
@_name
@_which
@json_option
def show(name: str, which: Which, as_json: bool) -> None:
    """Show what the profile NAME was made with and how it turned out."""
    found = Store.here().load(name, which, note=lambda sentence: click.echo(plain(sentence), err=True))
    report, fit = found.report, found.enrolment.fit
    facts: dict[str, Any] = {
        "front_end": found.front_end,
        "side": found.side,
        "bundle": found.bundle_name,
        "bundle_sha256": found.bundle_sha256,
        "created": found.created,
        "tool_version": found.tool_version,
        "actions": list(found.enrolment.actions),
        "ring_shift": fit.shift,
        "ring_clarity": round(report.ring_clarity, 4),
        "scale": [round(float(value), 3) for value in fit.scale],
        "closest": list(report.closest),
        "separation": round(report.separation, 2),
        "hops": dict(report.hops),
        "notes": found.notes,
    }
    if as_json:
        print_json({"name": name, "which": which, **facts})
        return
    facts["hops"] = [f"{action} {count}" for action, count in report.hops.items()]
    rows = [
        (key.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else value)
        for key, value in facts.items()
    ]
    click.echo(table(rows))


@profile.command()
@_name
def accept(name: str) -> None:
    """Use the provisional profile NAME from now on; the one before is kept."""
    click.echo(f"In use from now on: {Store.here().accept(name)}")


@profile.command()
@_name
def reject(name: str) -> None:
    """Forget the provisional profile NAME."""
    Store.here().reject(name)
    click.echo(f"Forgot the provisional profile {name}.")


@profile.command()
@_name
def undo(name: str) -> None:
    """Go back to the profile NAME as it was before; a second undo takes that back."""
    click.echo(f"The previous profile is in use again: {Store.here().undo(name)}")


@profile.command()
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the folder of the profile NAME, or of all profiles."""
    store = Store.here()
    click.echo(store.root if name is None else store.path(name))


@profile.command()
@_name
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(name: str, yes: bool) -> None:
    """Forget everything about the profile NAME."""
    store = Store.here()
    if not yes:
        click.confirm(f"Remove every profile of {name} in {store.path(name)}?", abort=True)
    store.remove(name)
    click.echo(f"Removed {name}.")
