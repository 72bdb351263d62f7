"""One row of the benchmark from recordings to tables: train or resume every fold, judge it, pool people over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge import __version__
from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.learn.evaluate import FOREIGN_SCALE, PLACEMENTS, RETRIEVERS, STRICT_PLACEMENTS
from myosem_edge.learn.evaluation import Evaluation, Retrieval
from myosem_edge.learn.metrics import merged_values, over_people
from myosem_edge.learn.rows import LEAKY, Protocol, Row
from myosem_edge.learn.runs import Bar, train_and_judge
from myosem_edge.learn.sessions import Session
from myosem_edge.learn.splits import Split
from myosem_edge.learn.tables import heads_table, markdown_table, people_table, retrieval_table
from myosem_edge.learn.train import TrainConfig


@dataclass(frozen=True)
class Pooled:
    """One question about one data set, people of all folds together; sizes and chance are means over folds."""

    dataset: str
    question: str
    sizes: tuple[int, ...]
    chance: float
    group_chance: float
    merged: bool
    table: Retrieval  # of the first fold, with everybody's values


@dataclass(frozen=True)
class Result:
    """A row that was run: one evaluation per split, by protocol. `settings` differ from the row's own training."""

    row: Row
    config: TrainConfig
    evaluations: Mapping[str, Sequence[Evaluation]]
    settings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.row.to_dict(),
            "tool": __version__,
            "config": self.config.to_dict(),
            "settings": self.settings,
            "evaluations": {name: [e.to_dict() for e in each] for name, each in self.evaluations.items()},
        }


def part_name(split: Split) -> str:
    """Folder of one training below the row's."""
    return f"{split.kind}-{split.held_dataset or split.fold}"


def run_row(
    row: Row,
    sessions: Sequence[Session],
    config: TrainConfig,
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    out: Path,
    settings: tuple[str, ...] = (),
    fold: int | None = None,
    device: str = "cpu",
    progress: Bar = lambda stage, done, total, note: None,
) -> Result:
    """Train and judge every split of the row, or the one that `fold` counts from 0 over all its protocols.

    What is finished in `out` is not done again.

    Raises:
        InputError: no such fold, nobody to train on or to judge, or `out` holds a run with other settings or data.
    """
    if fold is not None and not 0 <= fold < len(row.splits):
        raise InputError("no such fold of this row", found=fold, expected=f"0 to {len(row.splits) - 1}")
    chosen = row.splits if fold is None else (row.splits[fold],)
    evaluations: dict[str, list[Evaluation]] = {}
    for protocol in row.protocols:
        for split in protocol.splits:
            if split in chosen:
                found = train_and_judge(
                    split,
                    sessions,
                    config,
                    catalogue,
                    table,
                    folder=out / part_name(split),
                    budgets=row.budgets,
                    placements=STRICT_PLACEMENTS if row.strict else PLACEMENTS,
                    device=device,
                    progress=progress,
                )
                evaluations.setdefault(protocol.name, []).append(found)
    return Result(row, config, evaluations, settings)


def pooled(evaluations: Sequence[Evaluation]) -> list[Pooled]:
    """Folds joined by data set and question, in the order of the first fold."""
    found: dict[tuple[str, str], list[Retrieval]] = {}
    for e in evaluations:
        for r in e.retrieval:
            found.setdefault((r.dataset, r.question), []).append(r)
    return [
        Pooled(
            dataset,
            question,
            tuple(len(r.gallery) for r in rows),
            float(np.mean([r.chance for r in rows])),
            float(np.mean([r.group_chance if r.merged else r.chance for r in rows])),
            all(r.merged for r in rows),
            Retrieval(
                dataset,
                question,
                rows[0].gallery,
                tuple(sorted({person for r in rows for person in r.people})),
                rows[0].judged,
                values=merged_values([r.values for r in rows]),
            ),
        )
        for (dataset, question), rows in found.items()
    ]


def to_markdown(result: Result) -> str:
    """The row as it is published: what it is, what stands beside what, the headline, then every table."""
    row = result.row
    published = "none" if row.published is None else f"{row.published:.2f}"
    lines = [f"# {row.name}: {row.title}", "", f"Published figure: {published}.", ""]
    lines += [f"Comparable: {row.comparable}.", ""] if row.comparable else []
    lines += [f"Not comparable: {row.not_comparable}", ""] if row.not_comparable else []
    lines += [f"**{row.caveat}**", ""] if row.caveat else []
    lines += [f"{text}", ""] if (text := _scale_note(row)) else []
    changed = f" Settings: {', '.join(result.settings)}." if result.settings else ""
    lines += [f"Trained for {result.config.steps} steps, seed {result.config.seed}.{changed}", ""]
    run = sum(map(len, result.evaluations.values()))
    lines += (
        [f"**ONLY {run} OF {len(row.splits)} TRAININGS of this row were run.**", ""] if run < len(row.splits) else []
    )
    lines += [*_headline(result), ""]
    for protocol in row.protocols:
        if protocol.name in result.evaluations:
            lines += _protocol_lines(row, protocol, result.evaluations[protocol.name])
    return "\n".join(lines)


def _scale_note(row: Row) -> str:
    own = (
        "Normalisation: each channel is divided by the RMS of the judged session itself, every action weighing the "
        "same; that uses the session's own signal and labels."
    )
    foreign = f" The rows '{FOREIGN_SCALE}' use nothing of the judged person." if row.strict else ""
    return own + foreign


def _headline(result: Result) -> list[str]:
    """One line per question: first placement, descriptions and both baselines, chance and the published figure."""
    rows = []
    for name, evaluations in result.evaluations.items():
        leaky = any(p.leaky for p in result.row.protocols if p.name == name)
        for p in pooled(evaluations):
            retrievers = next(iter(p.table.values.values()))
            ours = retrievers[RETRIEVERS[0]]["window"]
            others = [
                str(over_people(retrievers[r]["window"]["R@1"])) if r in retrievers else "cannot"
                for r in RETRIEVERS[1:]
            ]
            rows.append(
                [
                    f"{name}{' (LEAKY)' if leaky else ''}, {p.dataset}",
                    f"{_sizes(p)}, {p.question}",
                    f"{p.chance:.1f}",
                    str(over_people(ours["R@1"])),
                    str(over_people(ours["R@5"])),
                    *others,
                    "-" if result.row.published is None else f"{result.row.published:.2f}",
                ]
            )
    header = ("protocol, judged on", "gallery", "chance", "R@1", "R@5", *(f"R@1 {r}" for r in RETRIEVERS[1:]))
    return ["As worn, per hop:", "", *markdown_table((*header, 'published "Recall"'), rows)]


def _sizes(p: Pooled) -> str:
    return "/".join(map(str, sorted(set(p.sizes))))


def _protocol_lines(row: Row, protocol: Protocol, evaluations: Sequence[Evaluation]) -> list[str]:
    lines = [f"## {protocol.name}", ""]
    if protocol.leaky:
        lines += [f"**{LEAKY}**", ""]
    for p in pooled(evaluations):
        facts = f"gallery {_sizes(p)} ({p.question}), chance R@1 {p.chance:.1f}"
        facts += f"; near-synonyms merged: chance {p.group_chance:.1f}" if p.merged else ""
        facts += f". {row.caveat}" if row.caveat else ""
        lines += [f"**{p.dataset}**, {len(p.table.people)} people, {facts}", ""]
        lines += [*retrieval_table(p.table.values, p.merged), ""]
    for what, trees in (
        ("calibrated", [e.few_shot for e in evaluations if e.few_shot]),
        ("judged on later days", [e.days for e in evaluations if e.days]),
    ):
        for dataset, budgets in (merged_values(trees) if trees else {}).items():
            lines += [f"**{dataset}**, {what}, percent right per hop / per execution", ""]
            lines += [*heads_table(budgets, "calibration"), ""]
            if row.per_person and what == "calibrated":
                first = next(p.table for p in pooled(evaluations) if p.dataset == dataset)
                lines += ["One line a person, percent right per hop:", "", *people_table(first, budgets), ""]
    return lines
