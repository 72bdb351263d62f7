"""What each part of the recipe is worth: one switch at a time, same split, same seeds, paired over people."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from myosem_edge import __version__
from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.protocols.runs import Bar, train_and_judge
from myosem_edge.learn.report import figures
from myosem_edge.learn.report.document import Block, Heading, Picture, Table, Text, html, markdown
from myosem_edge.learn.scoring.evaluate import AS_WORN, RETRIEVERS, RING_FOUND, RING_KNOWN
from myosem_edge.learn.scoring.evaluation import Evaluation, People, Retrieval
from myosem_edge.learn.scoring.metrics import Interval, merged_values, over_people, paired
from myosem_edge.learn.teacher.config import configure
from myosem_edge.learn.teacher.train import TrainConfig

BASE = "base"
PLACED = {"R@1, as worn": AS_WORN, "R@1, ring found": RING_FOUND, "R@1, ring known": RING_KNOWN}
CALIBRATED = {"calibrated, 1 s": "1 s", "calibrated, 1 repetition": "1"}
METRICS = (*PLACED, *CALIBRATED)
_KEYS = {"name", "settings", "why"}


@dataclass(frozen=True)
class Cell:
    """One switch of the grid: settings on top of the base configuration."""

    name: str
    settings: tuple[str, ...] = ()
    why: str = ""

    @property
    def folder(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass(frozen=True)
class Ablation:
    """A grid that was run: figures[cell][metric][person] in percent, seeds averaged; the base cell comes first."""

    split: Split
    config: TrainConfig
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    figures: Mapping[str, Mapping[str, People]]

    def differences(self, metric: str) -> list[tuple[str, Interval, Interval]]:
        """(cell, figure, paired difference to the base) in the order of the grid."""
        base = self.figures[BASE].get(metric, {})
        return [
            (cell.name, over_people(mine), paired(mine, base))
            for cell in self.cells
            if (mine := self.figures[cell.name].get(metric))
        ]

    def to_dict(self) -> dict[str, Any]:
        return {
            "tool": __version__,
            "split": self.split.to_dict(),
            "config": self.config.to_dict(),
            "seeds": self.seeds,
            "cells": [vars(cell) for cell in self.cells],
            "figures": self.figures,
        }


def default_grid() -> Path:
    return Path(str(resources.files("myosem_edge.learn.protocols") / "ablations.toml"))


def read_grid(path: Path, base: TrainConfig) -> tuple[Cell, ...]:
    """The base and every cell of a TOML file, each tried on the configuration before anything is trained.

    Raises:
        InputError: unreadable, a cell is incomplete or named twice, a setting is wrong or changes nothing.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the grid cannot be read: {error.strerror}", where=path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the grid is not valid TOML: {error}", where=path) from error
    tables = document.get("cells")
    if document.keys() != {"cells"} or not isinstance(tables, list) or not tables:
        raise InputError("a grid is a list of [[cells]]", where=path, found=", ".join(document) or "nothing")
    cells = [Cell(BASE, (), "The configuration as it is.")]
    for number, table in enumerate(tables, 1):
        where = f"{path}: cell {number}"
        if not isinstance(table, dict) or not {"name", "settings"} <= table.keys() <= _KEYS:
            raise InputError("a cell has name, settings and, if you like, why", where=where, found=sorted(table))
        name, settings, why = table["name"], table["settings"], table.get("why", "")
        texts = [name, why, *settings] if isinstance(settings, list) else [settings]
        if not all(isinstance(text, str) for text in texts) or not isinstance(settings, list):
            raise InputError("name and why are texts, settings a list of texts", where=where)
        cell = Cell(name, tuple(settings), why)
        if not cell.folder or cell.folder in {other.folder for other in cells}:
            raise InputError("a cell needs a name of its own", where=where, found=repr(name))
        tried = configure(base, cell.settings)
        if tried.seed != base.seed:
            raise InputError("every cell is trained on the same seeds", where=where, todo="Use --seed and --seeds")
        if tried == base:
            raise InputError("the settings of a cell change nothing", where=where, found=", ".join(settings))
        cells.append(cell)
    return tuple(cells)


def run_grid(
    cells: Sequence[Cell],
    split: Split,
    sessions: Sequence[Session],
    config: TrainConfig,
    catalogue: Catalogue,
    table: DescriptionTable,
    *,
    out: Path,
    seeds: Sequence[int] = (0,),
    device: str = "cpu",
    progress: Bar = lambda stage, done, total, note: None,
) -> Ablation:
    """Train and judge every cell with every seed; what is finished in `out` is not done again.

    Raises:
        InputError: nobody to train on or to judge, or `out` holds runs with other settings or data.
    """
    results: dict[str, dict[str, People]] = {}
    for number, cell in enumerate(cells, 1):
        found = []
        for seed in seeds:

            def step(stage: str, done: int, total: int, note: str, number: int = number) -> None:
                progress(f"{number}/{len(cells)} {stage}", done, total, note)

            evaluation = train_and_judge(
                split,
                sessions,
                replace(configure(config, cell.settings), seed=seed),
                catalogue,
                table,
                folder=out / f"{cell.folder}-seed{seed}",
                budgets=tuple(CALIBRATED.values()),
                device=device,
                progress=step,
            )
            found.append(figures_of(evaluation))
        results[cell.name] = merged_values(found)
    return Ablation(split, config, tuple(seeds), tuple(cells), results)


def figures_of(e: Evaluation) -> dict[str, People]:
    """The figures of a cell over the people of all judged data sets, each in what their data set shows."""
    results: dict[str, People] = {metric: {} for metric in METRICS}
    first: dict[str, Retrieval] = {}
    for r in e.retrieval:
        first.setdefault(r.dataset, r)
    for r in first.values():
        for metric, placement in PLACED.items():
            if placement in r.values:
                results[metric] |= r.values[placement][RETRIEVERS[0]]["window"]["R@1"]
    for budgets in e.few_shot.values():
        for metric, budget in CALIBRATED.items():
            if budget in budgets:
                results[metric] |= budgets[budget]["window"]["calibrated head"]
    return {metric: people for metric, people in results.items() if people}


def to_markdown(a: Ablation) -> str:
    """Every cell with its figures, and the paired difference to the base in brackets."""
    return markdown(blocks(a))


def to_html(a: Ablation) -> str:
    """The same as one file, a picture per figure inside."""
    return html(title(a), blocks(a))


def title(a: Ablation) -> str:
    held = f", {a.split.held_dataset} held out" if a.split.held_dataset else f", fold {a.split.fold}"
    return f"Ablation: {a.split.family} family, {a.split.kind} split{held}"


def blocks(a: Ablation) -> list[Block]:
    """Table of all cells, then the differences of each figure as a picture, then what each cell is for."""
    seeds = f"seed{'s' if len(a.seeds) > 1 else ''} {', '.join(map(str, a.seeds))}"
    people = len({person for values in a.figures[BASE].values() for person in values})
    columns = {metric: {name: rest for name, *rest in a.differences(metric)} for metric in METRICS}
    rows = []
    for cell in a.cells:
        cells = []
        for metric in METRICS:
            if cell.name not in columns[metric]:
                cells.append("-")
                continue
            figure, difference = columns[metric][cell.name]
            cells.append(f"{figure.mean:.1f}" + ("" if cell.name == BASE else f" ({signed(difference)})"))
        rows.append([cell.name, ", ".join(cell.settings), *cells])
    found: list[Block] = [
        Heading(title(a), 1),
        Text(
            f"{a.config.steps} steps, {seeds}, {people} judged people. Percent right per hop, mean over people; in "
            "brackets the paired difference to the base with its 95 % bootstrap interval over people."
        ),
        Table(("cell", "settings", *METRICS), rows),
    ]
    for metric in METRICS:
        if drawn := [(name, difference) for name, _, difference in a.differences(metric) if name != BASE]:
            draw = partial(figures.differences, metric, "percentage points, minus the base, paired over people", drawn)
            caption = f"{metric}: what each change does to it. A filled dot's interval excludes zero."
            found.append(Picture(draw, f"Differences to the base in {metric}", caption))
    reasons = [[cell.name, cell.why] for cell in a.cells if cell.why]
    return [*found, Heading("What each cell is for"), Table(("cell", "why"), reasons)]


def signed(i: Interval) -> str:
    """A difference with its sign, and its interval where there is one."""
    return f"{i.mean:+.1f}" if i.low != i.low else f"{i.mean:+.1f} [{i.low:+.1f}, {i.high:+.1f}]"
