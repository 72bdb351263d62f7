"""Accuracy against cost: students of every size, distilled and trained directly, in floats and in int8.

`python benchmarks/students.py TEACHER --data DIR --out DIR`: on what the teacher's split was trained on, judged on the
people whom it kept apart. Interrupted trainings go on.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, one_thread, read_sessions
from myosem_edge.export.distil import SIZES, DistilConfig, distil, student_config
from myosem_edge.export.measure import int8_encode
from myosem_edge.export.pipeline import rounding_body
from myosem_edge.files import write_atomic
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.protocols.runs import train_split
from myosem_edge.learn.report.document import Heading, Table, Text, markdown
from myosem_edge.learn.scoring.embed import Encode, embed, torch_encode, worn_shift
from myosem_edge.learn.scoring.fewshot import HEAD, few_shot
from myosem_edge.learn.scoring.metrics import emg_to_text, over_people, paired
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.train import TrainConfig, align_to
from myosem_edge.quantize.operations import count_operations
from myosem_edge.quantize.statistics import fold_front

BUDGETS = ("1 s", "1")
FIGURES = ("R@1, ring known", "calibrated, 1 s", "calibrated, 1 repetition")
FLOAT, INT8, ROUNDED = "float32", "int8", "int8, trained with rounding"
CURVES = (
    ("distilled", FLOAT, "o"),
    ("distilled", INT8, "x"),
    ("trained directly", FLOAT, "s"),
    ("trained directly", INT8, "+"),
)

People = dict[str, float]


def judge(
    trained: Trained, encode: Encode, sessions: Sequence[Session], ids: tuple[str, ...], prototypes: np.ndarray
) -> dict[str, People]:
    """FIGURES by person: retrieval among what all judged people show, and the calibrated head."""
    shown = sorted({int(a) for s in sessions for clip in s.clips for a in np.unique(clip.action) if a >= 0})
    found: dict[str, dict[str, list[float]]] = {name: {} for name in FIGURES}
    for session in sessions:
        e = embed(session, encode, shift=worn_shift(session, trained, ids, {1}))
        right = emg_to_text(e.z @ prototypes[shown].T, np.searchsorted(shown, e.action))["R@1"]
        found[FIGURES[0]].setdefault(session.person, []).append(right)
    for budget, units in few_shot(sessions, trained, encode, ids, prototypes, BUDGETS).items():
        for person, value in units["window"][HEAD].items():
            found[FIGURES[1 + BUDGETS.index(budget)]].setdefault(person, []).append(value)
    return {name: {who: float(np.mean(v)) for who, v in people.items()} for name, people in found.items()}


@click.command()
@click.argument("teacher", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, envvar="MYOSEM_DATA")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Runs, students.md, students.png.")
@click.option("--size", "sizes", multiple=True, type=click.Choice(list(SIZES)), default=list(SIZES), show_default=True)
@click.option("--steps", type=click.IntRange(1), default=DistilConfig.steps, show_default=True, help="Of distillation.")
@click.option(
    "--rounded-steps", type=click.IntRange(1), default=200, show_default=True, help="Of training with rounding."
)
@click.option("--direct-steps", type=click.IntRange(1), default=TrainConfig.steps, show_default=True)
@json_option
def main(
    teacher: Path,
    data: Path,
    out: Path,
    sizes: tuple[str, ...],
    steps: int,
    rounded_steps: int,
    direct_steps: int,
    as_json: bool,
) -> None:
    """Every size twice, judged beside its teacher on the same people."""
    one_thread()
    trained = Trained.load(teacher)
    split = Split(**trained.provenance["split"])
    catalogue, table = load_catalogue(), load_table()
    rows: list[dict[str, Any]] = []
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, split.datasets, catalogue, bar)
        training, judged = split.training(sessions, catalogue), split.judged(sessions, catalogue)
        align_to(training, trained.ring_templates, catalogue)

        def add(name: str, size: str, model: Trained, *forms: str) -> None:
            for form in forms:
                bar.update(f"judge {name} {size}, {form}", 0, 1)
                front = fold_front(model.encoder)
                config = DistilConfig(size=size, steps=steps)
                rounded = rounded_steps if form == ROUNDED else 0
                body = rounding_body(model, training[::4], config, rounded, bar.update).integers()
                weights = model.encoder.view_weights.detach().numpy()
                encode = torch_encode(model) if form == FLOAT else int8_encode(front, body, weights)
                figures = judge(model, encode, judged, catalogue.ids, model.prototypes(table).numpy())
                cost = count_operations(front, body)
                rows.append(
                    {"name": name, "size": size, "form": form, "operations": cost.to_dict(), "figures": figures}
                )

        add("teacher", f"{trained.encoder.config.width} wide", trained, FLOAT, INT8, ROUNDED)
        for size in sizes:
            config = DistilConfig(size=size, steps=steps)
            if student_config(trained.encoder.config, size) == trained.encoder.config:
                continue  # as large as the teacher: distilled or trained directly, it is the teacher
            add(
                "distilled",
                size,
                distil(trained, training, table, config, _counting(bar, f"distil {size}", steps)),
                FLOAT,
                INT8,
            )
            direct = train_split(
                split,
                sessions,
                TrainConfig(model=student_config(trained.encoder.config, size), steps=direct_steps),
                catalogue,
                table,
                folder=out / f"direct-{size}",
                progress=_counting(bar, f"train {size}", direct_steps),
            )
            align_to(training, trained.ring_templates, catalogue)
            add("trained directly", size, direct, FLOAT, INT8, ROUNDED)
    write_atomic(out / "students.md", markdown(page(rows, split, steps, direct_steps)).encode())
    write_atomic(out / "students.png", curve(rows))
    if as_json:
        print_json(rows)
    else:
        click.echo((out / "students.md").read_text())


def _counting(bar: Bar, stage: str, steps: int) -> Callable[[int, dict[str, float]], None]:
    return lambda step, numbers: bar.update(stage, step, steps)


def page(rows: Sequence[Mapping[str, Any]], split: Split, steps: int, direct_steps: int) -> list[Any]:
    """Every student with its cost, figures, and paired differences to the teacher."""
    teacher = rows[0]["figures"]
    lines = []
    for row in rows:
        o = row["operations"]
        cells = [row["name"], row["size"], row["form"], f"{o['streaming'] / 1000:.0f} k"]
        for figure in FIGURES:
            mean = over_people(row["figures"][figure]).mean
            d = paired(row["figures"][figure], teacher[figure])
            cells.append(f"{mean:.1f}" + ("" if row is rows[0] else f" ({d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}])"))
        lines.append(cells)
    people = len(teacher[FIGURES[0]])
    return [
        Heading("Accuracy against cost", 1),
        Text(
            "Made by `python benchmarks/students.py TEACHER --data DIR --out DIR`, TEACHER by "
            "`myosem-edge train --split user`. As a picture: [students.png](students.png)."
        ),
        Text(
            f"{split.kind} split, fold {split.fold}: {people} people whom neither teacher nor student was trained on. "
            f"Distilled in {steps} steps, trained directly in {direct_steps}. Percent right per hop, mean over people; "
            "in brackets the paired difference to the teacher with its 95 % bootstrap interval over people. "
            "Multiply-adds are those of one streaming decision."
        ),
        Table(("student", "size", "weights", "multiply-adds", *FIGURES), lines),
        Heading("What eight bits cost each person", 2),
        Text("Percent right after int8 less before, by person. Nobody here was used to set the ranges."),
        Table(
            ("model", "size", "weights", "figure", "mean", "worst person", "best person", "each person"),
            _by_person(rows),
        ),
    ]


def _by_person(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    floats = {(row["name"], row["size"]): row["figures"] for row in rows if row["form"] == FLOAT}
    lines = []
    for row in rows:
        if row["form"] == FLOAT:
            continue
        before = floats[row["name"], row["size"]]
        for figure in FIGURES:
            loss = {who: row["figures"][figure][who] - value for who, value in before[figure].items()}
            order = sorted(loss, key=lambda who: loss[who])
            each = ", ".join(f"{who} {loss[who]:+.1f}" for who in order)
            ends = [f"{who} {loss[who]:+.1f}" for who in (order[0], order[-1])]
            lines.append(
                [row["name"], row["size"], row["form"], figure, f"{np.mean([*loss.values()]):+.2f}", *ends, each]
            )
    return lines


def curve(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The same as a picture: one panel a figure, multiply-adds on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(FIGURES))
    for panel, name in zip(panels, FIGURES, strict=True):
        for kind, form, marker in CURVES:
            mine = [row for row in rows if row["name"] == kind and row["form"] == form]
            x = [row["operations"]["streaming"] / 1000 for row in mine]
            y = [over_people(row["figures"][name]).mean for row in mine]
            panel.plot(x, y, marker=marker, label=f"{kind}, {form}")
        panel.axhline(over_people(rows[0]["figures"][name]).mean, color="0.5", linestyle="--", label="teacher")
        panel.set(xscale="log", xlabel="thousand multiply-adds a decision", ylabel="percent right per hop", title=name)
    panels[0].legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
