"""One row of the benchmark from recordings to tables: train or resume every fold, judge it, pool people over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from myosem_edge import __version__
from myosem_edge.actions.catalogue import Catalogue
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.learn.corpus.sessions import Session
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.protocols.rows import LEAKY, Row
from myosem_edge.learn.protocols.runs import Bar, train_and_judge
from myosem_edge.learn.report.document import Block, Heading, Text, html, markdown
from myosem_edge.learn.report.pages import evaluation_blocks
from myosem_edge.learn.report.tables import headline_table
from myosem_edge.learn.scoring.evaluate import FOREIGN_SCALE, PLACEMENTS, STRICT_PLACEMENTS
from myosem_edge.learn.scoring.evaluation import Evaluation
from myosem_edge.learn.scoring.pooling import pooled
from myosem_edge.learn.teacher.train import TrainConfig


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
    row.require_fold(fold)
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


def to_markdown(result: Result) -> str:
    """The row as it is published."""
    return markdown(blocks(result))


def to_html(result: Result) -> str:
    """The row as one file, pictures inside."""
    return html(f"{result.row.name}: {result.row.title}", blocks(result))


def blocks(result: Result) -> list[Block]:
    """What the row is, what may stand beside what, the headline, then every table and picture."""
    row = result.row
    published = "none" if row.published is None else f"{row.published:.2f}"
    changed = f" Settings: {', '.join(result.settings)}." if result.settings else ""
    run = sum(map(len, result.evaluations.values()))
    found: list[Block] = [Heading(f"{row.name}: {row.title}", 1), Text(f"Published figure: {published}.")]
    found += [Text(f"Comparable: {row.comparable}.")] if row.comparable else []
    found += [Text(f"Not comparable: {row.not_comparable}")]
    found += [Text(row.caveat, warning=True)] if row.caveat else []
    found += [Text(_scale_note(row))]
    found += [Text(f"Trained for {result.config.steps} steps, seed {result.config.seed}.{changed}")]
    if run < len(row.splits):
        found.append(Text(f"ONLY {run} OF {len(row.splits)} TRAININGS of this row were run.", warning=True))
    leaky = {protocol.name: protocol.leaky for protocol in row.protocols}
    headline = [
        (f"{name}{' (LEAKY)' if leaky[name] else ''}, {p.retrieval.dataset}", p)
        for name, evaluations in result.evaluations.items()
        for p in pooled(evaluations)
    ]
    found.append(headline_table(headline, row.published))
    for name, evaluations in result.evaluations.items():
        found.append(Heading(name))
        found += [Text(LEAKY, warning=True)] if leaky[name] else []
        found += evaluation_blocks(evaluations, caveat=row.caveat, per_person=row.per_person)
    return found


def _scale_note(row: Row) -> str:
    own = (
        "Normalisation: each channel is divided by the RMS of the judged session itself, every action weighing the "
        "same; that uses the session's own signal and labels."
    )
    foreign = f" The rows '{FOREIGN_SCALE}' use nothing of the judged person." if row.strict else ""
    return own + foreign
