"""What an evaluation looks like on a page: headline, every table, and the pictures that explain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from myosem_edge.learn.report import figures
from myosem_edge.learn.report.document import Block, Heading, Picture, Text, html, markdown
from myosem_edge.learn.report.tables import (
    CALIBRATED,
    COVARIANCE_LDA,
    HUDGINS_LDA,
    LOG_LDA,
    OURS,
    Heads,
    budget_name,
    gallery_facts,
    headline_table,
    heads_table,
    people_table,
    reliability_table,
    retrieval_table,
    transitions_table,
)
from myosem_edge.learn.scoring.evaluate import AS_WORN
from myosem_edge.learn.scoring.evaluation import Evaluation
from myosem_edge.learn.scoring.metrics import merged_values
from myosem_edge.learn.scoring.pooling import Pooled, pooled

STREAMS = (
    "whole streams without the gate, calibrated on two repetitions: from EMG onset (a detector blind to the model) to "
    "the hop at which three of the last four decisions are right, within 1.5 s; activations are events of three in four"
)
FEWEST_PEOPLE = 5  # with fewer there is no interval, and everybody is listed
BALANCED = "Every action, session and person weighs the same."


def to_markdown(*folds: Evaluation) -> str:
    """The tables of an evaluation as they are committed; the people of several folds of one split together."""
    return markdown(_page(folds))


def to_html(*folds: Evaluation) -> str:
    """The same as one file, pictures inside."""
    return html(title(folds), _page(folds))


def title(folds: Sequence[Evaluation]) -> str:
    split = folds[0].split
    held = ""
    if split.kind in ("user", "class", "action"):
        held = f", fold{'s' if len(folds) > 1 else ''} {', '.join(str(e.split.fold) for e in folds)}"
    if split.held_dataset:
        held = f", {', '.join(e.split.held_dataset for e in folds)} held out"
    return f"{split.family} model, {split.kind} split{held}"


def _page(folds: Sequence[Evaluation]) -> list[Block]:
    rows = [(p.retrieval.dataset, p) for p in pooled(folds)]
    trained = " and ".join(str(e.trained_people) for e in folds)
    blocks: list[Block] = [
        Heading(f"{title(folds)} (trained on {trained} people)", 1),
        Text("Percent per hop of 25 ms, mean over people, 95 % bootstrap interval over people (none below five)."),
        headline_table(rows),
    ]
    return [*blocks, *evaluation_blocks(folds)]


def evaluation_blocks(evaluations: Sequence[Evaluation], *, caveat: str = "", per_person: bool = False) -> list[Block]:
    """Tables and pictures of one protocol, the people of its folds together. `caveat` stands beside every table.
    Fewer than five people are listed one by one.
    """
    every = pooled(evaluations)
    few_shot = merged_values([e.few_shot for e in evaluations])
    days = merged_values([e.days for e in evaluations])
    moved = {
        dataset: {head: _joined(head, dataset, evaluations) for head in heads}
        for e in evaluations
        for dataset, heads in e.transitions.items()
    }
    blocks: list[Block] = []
    for dataset in dict.fromkeys(p.retrieval.dataset for p in every):
        blocks.append(Heading(f"{dataset}", 3))
        mine = [p for p in every if p.retrieval.dataset == dataset]
        for p in mine:
            facts = gallery_facts(p) + (f". {caveat}" if caveat else "")
            blocks += [Text(facts, lead=dataset), retrieval_table(p.retrieval.values, p.merged)]
        for what, budgets in (
            ("calibrated", few_shot.get(dataset, {})),
            ("judged on later days", days.get(dataset, {})),
        ):
            if budgets:
                facts = f"{what}, percent right per hop / per execution" + (f". {caveat}" if caveat else "")
                blocks += [Text(facts, lead=dataset), heads_table(budgets)]
        if heads := moved.get(dataset):
            blocks += [Text(STREAMS, lead=dataset), transitions_table(heads)]
        if per_person or len(mine[0].retrieval.people) < FEWEST_PEOPLE:
            blocks += [Text("one line a person, percent right per hop", lead=dataset)]
            blocks += [people_table(mine[0].retrieval, few_shot.get(dataset, {}))]
        blocks += _pictures(dataset, mine[0], few_shot.get(dataset, {}), days.get(dataset, {}), evaluations[0])
    for number, e in enumerate(evaluations):
        fold = f"Fold {number}: e" if len(evaluations) > 1 else "E"
        facts = f"{fold}xpected calibration error of the first description, softmax at temperature {e.temperature:.3f} "
        blocks += [Text(f"{facts}(least Brier score on the training people):"), reliability_table(e)]
    return blocks


def _pictures(dataset: str, first: Pooled, few_shot: Heads, days: Heads, e: Evaluation) -> list[Block]:
    r, found = first.retrieval, []
    for placement, shares in (first.confusion or {}).items():
        if placement in r.values:
            draw = partial(figures.confusion, f"{dataset}, {placement}", r.judged, r.gallery, shares)
            found.append(
                Picture(
                    draw,
                    f"Matrix of true actions and first descriptions, {dataset}, {placement}",
                    f"Which description comes first for each true action, {placement}; mean over people.",
                )
            )
    found.append(_bars(dataset, r.values, few_shot))
    for name, rows in (("after calibration", few_shot), ("on later days", days)):
        if rows:
            table = {budget_name(budget): units["window"] for budget, units in rows.items()}
            heads = (CALIBRATED, LOG_LDA, HUDGINS_LDA, COVARIANCE_LDA)
            found.append(
                Picture(
                    partial(figures.budgets, f"{dataset}, {name}", table, heads),
                    f"Percent right {name}, four heads, {dataset}",
                    "All heads were fitted on the same seconds; bars are 95 % bootstrap intervals over people.",
                )
            )
    if dataset in e.landscape:
        found.append(
            Picture(
                partial(figures.landscape, f"{dataset}, {AS_WORN}", e.landscape[dataset]),
                f"Map of executions and descriptions of {dataset}",
                "The shared space on its two principal axes (singular value decomposition of the judged executions' "
                "means). Dots are executions, numbered discs the descriptions. Two axes show only what their share of "
                "the variance says.",
            )
        )
    if dataset in e.reliability:
        found.append(
            Picture(
                partial(figures.reliability, f"{dataset}, gallery {len(r.gallery)}", e.reliability[dataset]),
                f"Reliability of the probabilities, {dataset}",
                f"Softmax over the gallery at the temperature of least Brier score on the training people. {BALANCED}",
            )
        )
    return list(found)


def _bars(dataset: str, values: Any, few_shot: Heads) -> Picture:
    """One repetition of calibration where it was judged, retrieval otherwise; log-feature LDA beside it."""
    if "1" in few_shot:
        ours, peer, names = few_shot["1"]["window"][CALIBRATED], few_shot["1"]["window"][LOG_LDA], (CALIBRATED, LOG_LDA)
        what, unit = "after one repetition", "percent right per hop"
    else:
        retrievers: Mapping[str, Any] = values[AS_WORN]
        ours = retrievers[OURS]["window"]["R@1"]
        peer = retrievers[LOG_LDA]["window"]["R@1"] if LOG_LDA in retrievers else {}
        names, what, unit = (OURS, LOG_LDA), f"without data of the person, {AS_WORN}", "R@1 per hop, percent"
    return Picture(
        partial(figures.bars, f"{dataset}, {what}", unit, ours, peer, names),
        f"Every person of {dataset}: ours and {LOG_LDA}, {what}",
        f"Every person, sorted by ours. Means with 95 % bootstrap intervals over people below. {BALANCED}",
    )


def _joined(head: str, dataset: str, evaluations: Sequence[Evaluation]) -> dict[str, dict[str, Any]]:
    """Everybody's counts of one head, the folds' people together."""
    found: dict[str, dict[str, Any]] = {}
    for e in evaluations:
        found |= e.transitions.get(dataset, {}).get(head, {})
    return found
