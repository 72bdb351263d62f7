"""What faulty electrodes and amplifiers make a calibrated hand do: `python benchmarks/faults.py BUNDLE [--out DIR]`.

Every row runs the whole board on a virtual clock (see fault_stage.py), with the checks of signal quality and without
them. Beside it, on the same seconds, a common peer: LDA on Hudgins features, rejecting below 0.9, without any gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from fault_stage import Stage, enrolled, record_calibration

from myosem_edge.bundle import bundle_from
from myosem_edge.calibration.heads import fit_lda
from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import one_thread
from myosem_edge.demo.wearer import Person, load_person
from myosem_edge.files import write_atomic
from myosem_edge.firmware_bridge.emulators.faults import Distortion, Faults
from myosem_edge.firmware_bridge.frontends.myo import CHANNELS, Myo
from myosem_edge.learn.report.document import Heading, Table, Text, markdown
from myosem_edge.learn.sample import sample_folder
from myosem_edge.runtime.baseline import baseline_of
from myosem_edge.runtime.decision import REST
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.runtime.gate import Command
from myosem_edge.runtime.grips import GripMap, load_grip_map
from myosem_edge.runtime.health import SampleHealth
from myosem_edge.signal.features import hudgins_features, window_sums

GRIP_ACTION = "fist"
REJECT_BELOW = 0.9
FRAME = 5
SETTLED_S = 0.5  # after a fault begins: a channel is called bad after a quarter of a second
LEVELS = (0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class Row:
    name: str
    faults: Faults
    rest_s: float


def rows(person: Person, rest_s: float, noise_s: float) -> list[Row]:
    rest, active = (
        float(np.sqrt(np.mean(np.square(x)))) for x in (_resting(person), person.clips[GRIP_ACTION, 1].samples)
    )
    found = [
        Row("50 Hz hum on all channels", Faults(hum_hz=50.0, hum=30.0), rest_s),
        Row("60 Hz hum on all channels", Faults(hum_hz=60.0, hum=30.0), rest_s),
        Row("one channel railing", Faults(railing_channels=(0,)), rest_s),
        Row("all channels saturated", Faults(railing_channels=tuple(range(CHANNELS))), rest_s),
        Row("2 Hz motion artefact", Faults(artefact_hz=2.0, artefact=60.0), rest_s),
        Row("all channels flat", Faults(flat=True), rest_s),
        Row("one window repeated for ever", Faults(repeat_ms=250.0), rest_s),
    ]
    for what, level in (("rest", rest), ("contraction", active)):
        for share in LEVELS:
            noise = Faults(noise=share * level, seed=round(10 * share))
            found.append(Row(f"white noise, {share:g} x RMS of {what}", noise, noise_s))
    return found


def _resting(person: Person) -> np.ndarray:
    return np.concatenate(list(person.resting))


class Board:
    """One calibrated person; `stage` arms a new board."""

    def __init__(self, bundle_path: Path, subject: str, data: Path, backend: str) -> None:
        bundle = bundle_from(bundle_path)
        self.model, self.backend = Model.from_bundle(bundle), backend
        self.person = load_person(data, subject)
        self.data = record_calibration(self.person, self.model.filter.frame_samples)
        self.enrolment = enrolled(self.model, self.person, self.data, backend)
        self.grips: GripMap = load_grip_map(bundle.member("grips.toml"), self.model.gallery.ids, ALL_GRIPS)

    def stage(self, checks: bool) -> Stage:
        health = SampleHealth(Myo.info, baseline_of(self.enrolment), checks=checks)
        decoder = Decoder(self.model, self.enrolment, backend=self.backend)
        return Stage(self.person, decoder, self.grips, health=health)

    def at_rest(self, row: Row, checks: bool, seconds: float) -> int:
        """Commands to close that came of a fault while the wearer rests."""
        stage = self.stage(checks)
        begun_s = stage.now_s
        stage.fault(row.faults)
        stage.wait(seconds)
        return _closings(stage.seen.since(begun_s))

    def in_a_grip(self, row: Row, checks: bool, moving: bool) -> dict[str, float]:
        """A fault while the wearer closes (`moving`) or holds: what the hand did from SETTLED_S after it on."""
        stage = self.stage(checks)
        clip = self.person.clips[GRIP_ACTION, self.person.repetitions]
        for _ in range(3):
            stage.source.perform(clip.samples, GRIP_ACTION)
        closing = stage.wait(8.0, until=lambda: stage.command.kind == "grip")
        stage.wait(0.1 if moving else 1.5)
        stage.fault(row.faults)
        stage.wait(SETTLED_S)
        begun_s, before = stage.now_s, stage.position_deg.max()
        stage.wait(6.0)
        later = stage.seen.since(begun_s)
        return {
            "reached": float(closing),
            "closings": _closings(later),
            "opened": sum(command.kind == "open" for _, command in later),
            "further_deg": float(stage.position_deg.max() - before),
        }

    def recall(self, checks: bool) -> tuple[int, int]:
        """Executions that closed or opened the hand within 2 s on clean signal, and how many were played."""
        reached = played = 0
        for (action, repetition), clip in sorted(self.person.clips.items()):
            rule = self.grips.actions.get(action)
            if repetition == 1 or rule is None or rule.grip is None:
                continue
            stage = self.stage(checks)
            stage.source.perform(clip.samples, action)
            wanted = rule.grip if rule.grip != "open" else None
            played += 1
            reached += stage.wait(len(clip.samples) / 200 + 0.5, until=partial(_commands, stage, wanted))
        return reached, played


ALL_GRIPS = ("open", "power", "lateral", "pinch", "tripod", "point", "hook")


def _commands(stage: Stage, grip: str | None) -> bool:
    return stage.command.kind != "neutral" and stage.command.grip == grip


def _closings(commands: list[tuple[float, Command]]) -> int:
    """Grips newly commanded, or sped up."""
    count, before = 0, Command()
    for _, command in commands:
        count += command.kind == "grip" and (command.grip != before.grip or command.speed > before.speed)
        before = command
    return count


def peer(board: Board) -> Lda:
    """Hudgins features and LDA on the same calibration."""
    data = board.data
    frames = data.samples[: len(data.samples) // FRAME * FRAME].reshape(-1, FRAME, CHANNELS).astype(float)
    features = hudgins_features(window_sums(frames), FRAME)
    used = data.action >= 0
    return fit_lda(features[: len(used)][used], data.action[used], len(data.actions))


def peer_accepts(lda: Lda, board: Board, row: Row, seconds: float = 20.0) -> float:
    """Percent of windows that the peer takes for an active motion while the wearer rests."""
    rest = _resting(board.person)
    samples = np.resize(rest, (round(seconds * 200), CHANNELS)).astype(np.float32)
    faulty = np.clip(np.rint(Distortion(200.0, 127.0).apply(samples, row.faults)), -128, 127)
    frames = faulty.reshape(-1, FRAME, CHANNELS).astype(float)
    posterior = np.exp(lda.log_posteriors(hudgins_features(window_sums(frames), FRAME)))[20:]
    active = posterior.argmax(axis=1) != board.data.actions.index(REST)
    return float(100 * np.mean(active & (posterior.max(axis=1) >= REJECT_BELOW)))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of packs (default: the shipped sample).")
@click.option("--subject", default="p12548", show_default=True, help="Whom nothing was trained on.")
@click.option("--rest-s", type=click.FloatRange(5), default=60.0, show_default=True, help="Of rest under each fault.")
@click.option("--noise-s", type=click.FloatRange(5), default=600.0, show_default=True, help="Of each level of noise.")
@click.option("--before-s", type=click.FloatRange(5), default=60.0, show_default=True, help="Without the checks.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for faults.md.")
@json_option
def main(
    bundle: Path, data: Path | None, subject: str, rest_s: float, noise_s: float, before_s: float, out: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """The fault table of one calibrated person, before and after the checks."""
    one_thread()
    board = Board(bundle, subject, data or sample_folder(), "onnxruntime")
    lda, found = peer(board), []
    for row in rows(board.person, rest_s, noise_s):
        click.echo(row.name, err=True)
        figures: dict[str, Any] = {"fault": row.name, "peer": peer_accepts(lda, board, row)}
        figures["before"] = board.at_rest(row, False, min(before_s, row.rest_s))
        figures["after"] = board.at_rest(row, True, row.rest_s)
        figures["seconds"] = row.rest_s
        figures["hold"], figures["motion"] = (board.in_a_grip(row, True, moving) for moving in (False, True))
        found.append(figures)
    recall = {checks: board.recall(checks) for checks in (False, True)}
    if as_json:
        print_json({"rows": found, "recall": {"before": recall[False], "after": recall[True]}})
    page = markdown(_page(found, recall, subject, before_s))
    if out is not None:
        write_atomic(out / "faults.md", page.encode())
    if not as_json:
        click.echo(page)


def _page(found: list[dict[str, Any]], recall: dict[bool, tuple[int, int]], subject: str, before_s: float) -> list[Any]:
    lines = []
    for each in found:
        grips = [
            f"{g['closings']:.0f} / {g['opened']:.0f} / {g['further_deg']:+.0f}°" if g["reached"] else "no grip"
            for g in (each["hold"], each["motion"])
        ]
        lines.append(
            [each["fault"], f"{each['peer']:.0f} %", f"{each['before']} in {min(before_s, each['seconds']):.0f} s",
             f"{each['after']} in {each['seconds']:.0f} s", *grips]
        )  # fmt: skip
    (before, played), (after, _) = recall[False], recall[True]
    return [
        Heading("The fault table", 1),
        Text(
            f"Made by `python benchmarks/faults.py BUNDLE`: {subject} of the sample, whom nothing was trained on, "
            "calibrated on one repetition through an emulated armband; the whole board on a virtual clock. At rest: "
            "grips commanded that nobody meant. In a hold and in a motion, from half a second after the fault began, "
            "for six seconds: grips newly commanded or sped up / openings / movement of the finger that is closed most."
        ),
        Table(
            ("fault", "peer: windows accepted as active", "at rest, without the checks", "at rest, with them",
             "in a hold", "in a motion"), lines,
        ),
        Text(f"On clean signal {after} of {played} executions reached their command with the checks, {before} before."),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
