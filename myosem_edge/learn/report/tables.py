"""The tables of a report: mean over people, 95 % bootstrap interval over people, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from myosem_edge.learn.report.document import Table
from myosem_edge.learn.scoring.evaluate import AS_WORN, RETRIEVERS, RING_FOUND, RING_KNOWN
from myosem_edge.learn.scoring.evaluation import Evaluation, People, Retrieval
from myosem_edge.learn.scoring.fewshot import HEADS
from myosem_edge.learn.scoring.metrics import Interval, error_ratio, over_people, paired
from myosem_edge.learn.scoring.pooling import Pooled
from myosem_edge.learn.scoring.reliability import expected_error
from myosem_edge.learn.scoring.transitions import Tally
from myosem_edge.learn.scoring.transitions import pool as pool_tallies

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
OURS, LOG_LDA, HUDGINS_LDA = RETRIEVERS
CALIBRATED, COVARIANCE_LDA = "calibrated head", "log-covariance LDA"

Values = Mapping[str, Mapping[str, Mapping[str, Mapping[str, People]]]]
Heads = Mapping[str, Mapping[str, Mapping[str, People]]]


def headline_table(rows: Sequence[tuple[str, Pooled]], published: float | None = None) -> Table:
    """One line per label and question: R@1 per hop without data of the person, both baselines and chance beside it."""
    header = ["judged on", "gallery", "chance", "R@1 as worn", "R@5 as worn", "R@1 ring found", "R@1 ring known"]
    header += [f"R@1 {name}, {place}" for name in (LOG_LDA, HUDGINS_LDA) for place in ("as worn", "ring known")]
    header += [] if published is None else ['published "Recall"']
    lines = []
    for label, p in rows:
        values = p.retrieval.values
        cells = [label, f"{p.size}, {p.retrieval.question}", f"{p.chance:.1f}"]
        cells += [_figure(values, AS_WORN, OURS, "R@1"), _figure(values, AS_WORN, OURS, "R@5")]
        cells += [_figure(values, place, OURS, "R@1") for place in (RING_FOUND, RING_KNOWN)]
        cells += [_figure(values, place, name, "R@1") for name in RETRIEVERS[1:] for place in (AS_WORN, RING_KNOWN)]
        lines.append(cells + ([] if published is None else [f"{published:.2f}"]))
    return Table(header, lines)


def _figure(values: Values, placement: str, retriever: str, metric: str) -> str:
    if placement not in values:
        return "-"
    if retriever not in values[placement]:
        return "cannot"  # a discriminant never names an action that it was not fitted on
    return str(over_people(values[placement][retriever]["window"][metric]))


def gallery_facts(p: Pooled) -> str:
    """People, gallery and chance of one question in words."""
    r = p.retrieval
    what = f"{len(r.people)} people, gallery {p.size} ({r.question}), chance R@1 {p.chance:.1f}"
    if p.merged:
        what += f"; near-synonyms merged: chance {p.group_chance:.1f}"
    same_every_fold = p.confusion is not None
    if set(r.judged) != set(r.gallery):
        what += f", judged on {len(r.judged)} of them"
        what += f" ({', '.join(r.judged)})" if same_every_fold else ""
    return f"{what}: {', '.join(r.gallery)}" if same_every_fold else what


def retrieval_table(values: Values, merged: bool) -> Table:
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
    return Table([*COLUMNS[:4], *([MERGED_COLUMN] if merged else []), *COLUMNS[4:]], rows)


def heads_table(budgets: Heads) -> Table:
    """Calibrated accuracy: one line per budget, one column per head."""
    rows = []
    for budget, units in budgets.items():
        cells = [
            f"{over_people(units['window'][h]).mean:.1f} / {over_people(units['execution'][h]).mean:.1f}" for h in HEADS
        ]
        ratio = ratio_text(error_ratio(units["window"][CALIBRATED], units["window"][LOG_LDA]))
        rows.append([budget_name(budget), *cells, ratio])
    return Table(["calibration", *HEADS, "error relative to log-feature LDA"], rows)


def transitions_table(heads: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """Whole streams without a gate: delay, holds and false activations of the same decisions."""
    rows = []
    for head, people in heads.items():
        p = pool_tallies({person: Tally(**counts) for person, counts in people.items()})
        rest, free = (poisson_rate(p[f"{kind}_events"], p[f"{kind}_h"]) for kind in ("rest", "free"))
        rows.append(
            [
                head,
                f"{p['onsets']:.0f}",
                f"{p['delay_p10_ms']:.0f} / {p['delay_p50_ms']:.0f} / {p['delay_p90_ms']:.0f}",
                f"{p['missed_percent']:.1f}",
                f"{p['right_in_holds_percent']:.1f}",
                f"{p['changes_per_s']:.2f}",
                rest,
                free,
            ]
        )
    header = ["head", "onsets", "delay p10 / p50 / p90, ms", "missed, %", "right in holds, %", "changes per s of hold"]
    return Table([*header, "false activations per h at rest", "in free movement"], rows)


def poisson_rate(events: float, hours: float) -> str:
    """Events per hour with the exact 95 % Poisson interval (Garwood 1936) and the hours observed."""
    if not hours:
        return "-"
    from scipy.stats import chi2

    low = chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    high = chi2.ppf(0.975, 2 * events + 2) / 2
    return f"{events / hours:.0f} [{low / hours:.0f}, {high / hours:.0f}] in {hours:.2f} h"


def people_table(r: Retrieval, budgets: Heads) -> Table:
    """One line a person: retrieval without data of theirs, then every budget, ours and the baselines."""
    placements = list(r.values)
    heads = (CALIBRATED, COVARIANCE_LDA, LOG_LDA, HUDGINS_LDA)
    header = ["person", *(f"R@1 hop, {name}" for name in placements)]
    header += [f"{budget_name(budget)}: {head}" for budget in budgets for head in heads]
    rows = []
    for person in r.people:
        cells = [_cell(r.values[name][OURS]["window"]["R@1"], person) for name in placements]
        cells += [_cell(units["window"][head], person) for units in budgets.values() for head in heads]
        rows.append([person.partition("/")[2], *cells])
    return Table(header, rows)


def reliability_table(e: Evaluation) -> Table:
    """Expected calibration error of the first description, by data set and placement."""
    names = list(dict.fromkeys(name for curves in e.reliability.values() for name in curves))
    rows = [
        [dataset, *(f"{expected_error(curves[name]):.1f} %" if name in curves else "-" for name in names)]
        for dataset, curves in e.reliability.items()
    ]
    return Table(["judged on", *names], rows)


def _cell(values: People, person: str) -> str:
    return f"{values[person]:.1f}" if person in values else "-"


def budget_name(budget: str) -> str:
    return f"{budget} repetition{'s' if budget != '1' else ''}" if budget.isdigit() else budget


def ratio_text(i: Interval) -> str:
    return f"{i.mean:.2f}" if np.isnan(i.low) else f"{i.mean:.2f} [{i.low:.2f}, {i.high:.2f}]"
