"""`replay --log`: what a run logged, made again and compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from myosem_edge.cli._output import plain, print_json
from myosem_edge.errors import InputError, RefusedError
from myosem_edge.runtime.gate_replay import TORN, Decodes, Event, Replayed, logs_at, read_events, replay

SHOWN_DIFFERENCES = 5


def replay_log(
    path: Path, bundle: Path | None, profile: str | None, front_end_name: str, backend: str, as_json: bool
) -> None:
    """Replay one log or every log of a folder, and say what differs.

    Raises:
        InputError: there is no log, or one that is none of this version's.
        MyosemError: bundle or profile cannot be used.
        RefusedError: something differs or was damaged, or no run was of that bundle and profile and logged EMG.
    """
    worn = _Worn(bundle, profile, front_end_name, backend) if bundle is not None else None
    counts: Counter[str] = Counter()
    shown: list[dict[str, Any]] = []
    for files in logs_at(path):
        log, found = files[-1], Counter[str]()
        events = _watched(read_events(files), found)
        try:
            for each in replay(events, worn.decoder if worn is not None else _nobody):
                _count(each, found)
                for difference in each.differences:
                    if len(shown) < SHOWN_DIFFERENCES:
                        sides = {"what": difference.what, "logged": difference.logged, "found": difference.found}
                        shown.append({"log": str(log), "time_s": each.time_s, "inputs": each.inputs, **sides})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"holds an event that no gate of this version logged ({error!r})", where=log) from error
        if not found["steps"]:
            raise InputError("holds no step of a gate", where=log, todo="Log one with: myosem-edge run --log FILE")
        counts += found
    named = ["steps", "same", "different", "not_replayable", "torn", "gaps", "damaged"]
    if worn is not None:
        named += ["decisions", "decisions_logged", "decisions_different"]
    facts = {name: counts[name] for name in named}
    if as_json:
        print_json({**facts, "differences": shown})
    else:
        _say(facts, shown)
    if counts["different"] or counts["damaged"]:
        wrong = [f"{counts['different']} steps that differ"] if counts["different"] else []
        wrong += [f"{counts['damaged']} damaged lines"] if counts["damaged"] else []
        raise RefusedError("the log does not replay to the same", where=path, found=", ".join(wrong), expected="none")
    if worn is not None and not counts["decisions"]:
        raise RefusedError(
            "no decision could be made again",
            where=path,
            found=worn.foreign or f"{counts['emg']} pieces of EMG",
            todo="Name bundle, --profile and --backend of a run that was logged with --record-emg from its start on",
        )


class _Worn:
    """The decoder of a run: bundle, profile, backend."""

    def __init__(self, bundle: Path, profile: str | None, front_end_name: str, backend: str) -> None:
        from myosem_edge.bundle import bundle_from
        from myosem_edge.calibration.store import Store
        from myosem_edge.firmware_bridge.frontends import make_front_end
        from myosem_edge.runtime.decoder import Model

        opened = bundle_from(bundle)
        self._model, self._backend, self._enrolment = Model.from_bundle(opened), backend, None
        self.foreign = ""
        self._facts = {"bundle_sha256": opened.sha256, "profile_created": None, "backend": backend}
        if profile is not None:
            store = Store.here()
            loaded = store.load(profile)
            loaded.require_fits(opened, make_front_end(front_end_name).info, where=store.path(profile, "current"))
            self._enrolment, self._facts["profile_created"] = loaded.enrolment, loaded.created

    def decoder(self, start: Event) -> Decodes | None:
        """A fresh one, where the run was of this bundle, profile and backend."""
        from myosem_edge.runtime.decoder import Decoder

        differing = [name for name, ours in self._facts.items() if start.get(name) != ours]
        if differing:
            self.foreign = f"{differing[0]} {start.get(differing[0])}, not {self._facts[differing[0]]}"
            return None
        return Decoder(self._model, self._enrolment, backend=self._backend)


def _nobody(start: Event) -> None:
    """Without a bundle no decision is made again."""


def _watched(events: Iterator[Event], counts: Counter[str]) -> Iterator[Event]:
    for event in events:
        kind = event["event"]
        counts["torn"] += kind == TORN
        counts["gaps"] += kind == "dropped"
        counts["emg"] += kind == "emg"
        yield event


def _count(each: Replayed, counts: Counter[str]) -> None:
    if each.inputs is None:
        counts["damaged"] += 1
        return
    decided = [difference for difference in each.differences if difference.what == "decision"]
    counts["steps"] += 1
    counts["decisions_logged"] += each.weighed
    counts["decisions"] += each.decided
    counts["decisions_different"] += bool(decided)
    counts["different"] += bool(each.differences)
    counts["not_replayable"] += not each.known
    counts["same"] += each.known and not each.differences


def _say(facts: dict[str, int], shown: list[dict[str, Any]]) -> None:
    click.echo(
        f"{facts['steps']} steps of shaper and gate: {facts['same']} the same again, {facts['different']} different"
    )
    if facts["not_replayable"]:
        click.echo(
            f"{facts['not_replayable']} lie behind a gap, or before the first logged state: nothing is said of them"
        )
    if facts["torn"] or facts["gaps"]:
        click.echo(f"{facts['torn']} lines were torn, {facts['gaps']} times events had been dropped")
    if "decisions" in facts:
        click.echo(
            f"{facts['decisions']} of {facts['decisions_logged']} decisions made again from EMG, "
            f"{facts['decisions_different']} different"
        )
    for each in shown:
        logged, found = (json.dumps(each[name]) for name in ("logged", "found"))
        click.echo(plain(f"{each['log']} at {each['time_s']:.3f} s, {each['what']} logged: {logged}; now: {found}"))
        if each["inputs"] is not None:
            click.echo(plain(f"  inputs: {json.dumps(each['inputs'])}"))
