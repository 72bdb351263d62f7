"""The page that a demonstration ends with. Everything on it comes from logs; nothing is assumed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.demo.picture import draw
from myosem_edge.demo.play import Session
from myosem_edge.demo.summary import Summary
from myosem_edge.files import write_atomic
from myosem_edge.runtime.grips import GripMap


def write_report(
    folder: Path, session: Session, summary: Summary, grips: GripMap, title: str, export_table: str
) -> tuple[Path, Path]:
    """report.md and report.png into the folder."""
    picture = folder / "report.png"
    write_atomic(picture, draw(session, summary))
    text = folder / "report.md"
    write_atomic(text, _markdown(session, summary, grips, title, export_table, picture.name).encode())
    return text, picture


def grip_table(grips: GripMap, actions: tuple[str, ...]) -> list[tuple[str, str, str, str]]:
    """Rows (action, grip, threshold, why) for the actions that were played."""
    rows = []
    for action in actions:
        rule = grips.actions.get(action)
        if rule:
            rows.append((action, rule.grip or "nothing", f"{rule.threshold:g}", rule.why))
    return rows


def _markdown(session: Session, s: Summary, grips: GripMap, title: str, export_table: str, picture: str) -> str:
    delays = np.array(s.delays_s) * 1000
    reached = len(s.delays_s)
    with_onset = sum(o.performed.clip.onset is not None for o in s.outcomes)
    if len(delays):
        p10, p50, p90 = np.percentile(delays, [10, 50, 90])
        delay_line = f"p10 {p10:.0f} ms, median {p50:.0f} ms, p90 {p90:.0f} ms"
    else:
        delay_line = "no correct command was given"
    header = "| true \\ decided | " + " | ".join([*s.actions, "other"]) + " |"
    matrix = [header, "|---" * (len(s.actions) + 2) + "|"]
    for action, row in zip(s.actions, s.confusion, strict=True):
        total = max(row.sum(), 1)
        matrix.append(f"| {action} | " + " | ".join(f"{100 * v / total:.0f}" for v in row) + " |")
    outcomes = [
        "| action | repetition | grip wanted | first right command after onset | other grips commanded |",
        "|---|---|---|---|---|",
    ]
    for o in s.outcomes:
        clip = o.performed.clip
        delay = "never" if clip.onset is not None else "no onset found"
        if o.delay_s is not None:
            delay = f"{1000 * o.delay_s:.0f} ms"
        cells = (clip.action, str(clip.repetition), o.wanted or "-", delay, ", ".join(o.wrong) or "-")
        outcomes.append(f"| {' | '.join(cells)} |")
    mapping = ["| action | grip | threshold | why |", "|---|---|---|---|"]
    mapping += [f"| {' | '.join(row)} |" for row in grip_table(grips, s.actions)]
    last: dict[str, Any] = next((e for e in reversed(session.events) if e["event"] == "summary"), {})
    lost = last.get("front_end", {}).get("lost_samples", "?")
    reached_line = f"the right command came in {reached} of the {with_onset} whose muscle onset could be found"
    right_line = f"{s.right_hops:.1f} % (chance {100 / len(s.actions):.1f} %)"
    return f"""# {title}

![timeline, confusion and delays]({picture})

Not a medical device. One person, one session, an emulated armband and an emulated hand: the bytes are real, the EMG is
real, the hand is not. The person was never trained on; calibration saw repetition 1, the session below the others.

## In short
- {len(s.outcomes)} executions of {len(s.actions) - 1} actions; {reached_line}.
- Delay from EMG onset (fixed detector, blind to the model) to the first right command, gate included: {delay_line}.
- Decisions inside executions that were right, actions balanced: {right_line}.
- Grips newly commanded while the wearer rested: {s.at_rest} in {s.rest_s:.0f} s.
- Lost samples: {lost}; loop lateness p99: {_spread(last.get("late", {}))}.

## Action -> grip
`meaning`: the grip follows from what the action is. `chosen`: somebody picked it; these armband data are mostly
wrist actions.

{chr(10).join(mapping)}

## Every execution
{chr(10).join(outcomes)}

## Confusion, percent of decisions
Rows are what the wearer did (from onset to the end of the cue, or rest), columns what was decided before thresholds.

{chr(10).join(matrix)}

## What was not obeyed, and why
Decisions not passed on (by the decoder's or the shaper's reason): {_counts(s.rejected)}.
Changes of verdict while armed, by the gate's reasons: {_counts(s.held_back)}. Each reason has a page in docs/reasons.

## What the export cost
The judges of the shipped sample are three people with noisy, cued recordings: on them calibration hardly beats the
log-feature LDA. The larger tables, with other people, are in docs/results.

{export_table}
"""


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def _spread(late: dict[str, Any]) -> str:
    for key in ("p99_ms", "p99"):
        if isinstance(late.get(key), int | float):
            return f"{late[key]:.1f} ms"
    return f"{1000 * late['p99_s']:.1f} ms" if isinstance(late.get("p99_s"), int | float) else "?"
