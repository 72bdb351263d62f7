"""Evaluations as Markdown tables: mean over people, 95 % bootstrap interval over people, paired differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from myosem_edge.learn.evaluate import RETRIEVERS
from myosem_edge.learn.evaluation import Evaluation, People, Retrieval
from myosem_edge.learn.fewshot import HEADS
from myosem_edge.learn.metrics import Interval, error_ratio, over_people, paired
from myosem_edge.learn.reliability import expected_error

COLUMNS = (
    "placement",
    "retriever",
    "R@1 hop",
    "R@1 execution",
    "R@5 hop",
    "MRR (= mAP EMG→text) hop",
    "mAP text→EMG hop",
    "mAP text→EMG execution",
    "R@1 hop minus descriptions",
)
MERGED_COLUMN = "R@1 hop, near-synonyms merged"
OURS = RETRIEVERS[0]

Values = Mapping[str, Mapping[str, Mapping[str, Mapping[str, People]]]]
Heads = Mapping[str, Mapping[str, Mapping[str, People]]]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(header) + " |",
        "|---" * len(header) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def to_markdown(e: Evaluation) -> str:
    """The tables of one evaluation as they are committed."""
    lines = [f"### {title(e)} (trained on {e.trained_people} people)", ""]
    for r in e.retrieval:
        lines += [gallery_line(r), "", *retrieval_table(r.values, bool(r.merged)), ""]
    for dataset, budgets in e.few_shot.items():
        lines += [f"**{dataset}**, calibrated, percent right per hop / per execution", ""]
        lines += [*heads_table(budgets, "calibration"), ""]
    for dataset, rows in e.days.items():
        lines += [f"**{dataset}**, judged on later days, percent right per hop / per execution", ""]
        lines += [*heads_table(rows, "calibration"), ""]
    if e.reliability:
        chosen = f"temperature {e.temperature:.3f}, chosen on the training people"
        lines += [f"Expected calibration error of the first description, {chosen}:", ""]
        names = list(dict.fromkeys(name for curves in e.reliability.values() for name in curves))
        curves_rows = [
            [dataset, *(f"{expected_error(curves[n]):.1f} %" if n in curves else "" for n in names)]
            for dataset, curves in e.reliability.items()
        ]
        lines += [*markdown_table(("judged on", *names), curves_rows), ""]
    return "\n".join(lines)


def title(e: Evaluation) -> str:
    held = f", fold {e.split.fold}" if e.split.kind in ("user", "class", "action") else ""
    held = f", {e.split.held_dataset} held out" if e.split.held_dataset else held
    return f"{e.split.family} model, {e.split.kind} split{held}"


def gallery_line(r: Retrieval) -> str:
    what = f"gallery {len(r.gallery)} ({r.question}), chance R@1 {r.chance:.1f}"
    if r.merged:
        what += f"; {r.merged} when near-synonyms are merged, chance {r.group_chance:.1f}"
    if set(r.judged) != set(r.gallery):
        what += f", judged on {len(r.judged)} of them ({', '.join(r.judged)})"
    return f"**{r.dataset}**, {len(r.people)} people, {what}: {', '.join(r.gallery)}"


def retrieval_table(values: Values, merged: bool) -> list[str]:
    """One gallery: every placement and retriever."""
    rows = []
    for placement, retrievers in values.items():
        ours = retrievers[OURS]["window"]["R@1"]
        for retriever in RETRIEVERS:
            if retriever not in retrievers:
                continue
            v = retrievers[retriever]
            rows.append(
                [
                    placement,
                    retriever,
                    str(over_people(v["window"]["R@1"])),
                    str(over_people(v["execution"]["R@1"])),
                    *([str(over_people(v["window"]["group R@1"]))] if merged else []),
                    f"{over_people(v['window']['R@5']).mean:.1f}",
                    f"{over_people(v['window']['MRR']).mean:.1f}",
                    f"{over_people(v['window']['text mAP']).mean:.1f}",
                    f"{over_people(v['execution']['text mAP']).mean:.1f}",
                    "" if retriever == OURS else str(paired(v["window"]["R@1"], ours)),
                ]
            )
    header = [*COLUMNS[:4], *([MERGED_COLUMN] if merged else []), *COLUMNS[4:]]
    return markdown_table(header, rows)


def heads_table(budgets: Heads, name: str) -> list[str]:
    """Calibrated accuracy: one line per budget, one column per head."""
    rows = []
    for budget, units in budgets.items():
        cells = [
            f"{over_people(units['window'][h]).mean:.1f} / {over_people(units['execution'][h]).mean:.1f}" for h in HEADS
        ]
        ratio = ratio_text(error_ratio(units["window"]["calibrated head"], units["window"]["log-feature LDA"]))
        rows.append([budget_name(budget), *cells, ratio])
    return markdown_table([name, *HEADS, "error relative to log-feature LDA"], rows)


def people_table(r: Retrieval, budgets: Heads) -> list[str]:
    """One line a person: retrieval without data of theirs, then every budget, ours and both baselines."""
    placements = list(r.values)
    header = ["person", *(f"R@1 hop, {name}" for name in placements)]
    header += [f"{budget_name(b)}: {head}" for b in budgets for head in ("calibrated head", *HEADS[:2])]
    rows = []
    for person in r.people:
        cells = [_cell(r.values[name][OURS]["window"]["R@1"], person) for name in placements]
        for units in budgets.values():
            cells += [_cell(units["window"][head], person) for head in ("calibrated head", *HEADS[:2])]
        rows.append([person.partition("/")[2], *cells])
    return markdown_table(header, rows)


def _cell(values: People, person: str) -> str:
    return f"{values[person]:.1f}" if person in values else "-"


def budget_name(budget: str) -> str:
    return f"{budget} repetition{'s' if budget != '1' else ''}" if budget.isdigit() else budget


def ratio_text(i: Interval) -> str:
    return f"{i.mean:.2f}" if np.isnan(i.low) else f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]"
