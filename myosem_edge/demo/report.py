"""What happened, on one page: timeline, confusion, delays, rejections, the grip table. Everything from logs, nothing assumed."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.demo.play import Performed, Session
from myosem_edge.files import write_atomic
from myosem_edge.runtime.grips import GripMap

REST = "rest"
AFTERGLOW_S = 1.0  # after the end of a cue people are still letting go: neither the action nor rest


@dataclass(frozen=True)
class Outcome:
    """One execution: when the right command came, counted from the onset of the muscle, and what else was commanded."""

    performed: Performed
    wanted: str  # grip of the action, or "" where the map gives it none
    delay_s: float | None  # None: never, or no onset was found
    wrong: tuple[str, ...]  # other grips commanded while it lasted


@dataclass(frozen=True)
class Summary:
    """Figures of the whole session."""

    outcomes: tuple[Outcome, ...]
    actions: tuple[str, ...]
    confusion: np.ndarray  # (true, decided) counts of decisions inside executions
    rejected: Counter[str]
    held_back: Counter[str]
    at_rest: int  # grips newly commanded while the wearer rested
    rest_s: float

    @property
    def delays_s(self) -> list[float]:
        return [o.delay_s for o in self.outcomes if o.delay_s is not None]

    @property
    def right_hops(self) -> float:
        """Percent of decisions inside executions that were right, actions balanced."""
        rows = self.confusion.sum(axis=1)
        return float(100 * np.mean(np.diag(self.confusion)[rows > 0] / rows[rows > 0]))


def summarise(session: Session, grips: GripMap) -> Summary:
    actions = tuple(dict.fromkeys([REST, *(p.clip.action for p in session.performed)]))
    decisions = [e for e in session.events if e["event"] == "decision"]
    verdicts = [e for e in session.events if e["event"] == "verdict"]
    confusion = np.zeros((len(actions), len(actions) + 1))
    for d in decisions:
        truth = _truth(session, d["time_s"])
        if truth in actions:
            column = actions.index(d["action"]) if d["action"] in actions else len(actions)
            confusion[actions.index(truth), column] += 1
    rejected = Counter(d["reason"] or d["asked"] for d in decisions if d["reason"] or d["asked"])
    held_back = Counter(reason for v in verdicts if v["armed"] for reason in v["reasons"])
    outcomes = tuple(_outcome(p, verdicts, grips) for p in session.performed)
    commands = _commands(verdicts)
    at_rest = sum(_truth(session, time_s) == REST for time_s, _ in commands)
    busy = sum(p.time_s(p.clip.end) + AFTERGLOW_S - _begin_s(p) for p in session.performed)
    return Summary(outcomes, actions, confusion, rejected, held_back, at_rest, session.ended_s - session.begun_s - busy)


def _commands(verdicts: list[dict[str, Any]]) -> list[tuple[float, str]]:
    """Changes of what the hand is told to do: (time, grip), with "open" for opening; neutral is no command."""
    found, last = [], ""
    for v in verdicts:
        command = v["command"]
        now = {"grip": command["grip"], "open": "open"}.get(command["kind"], "")
        if now and now != last:
            found.append((v["time_s"], now))
        last = now
    return found


def _begin_s(p: Performed) -> float:
    return p.time_s(p.clip.onset if p.clip.onset is not None else p.clip.cue)


def _truth(session: Session, time_s: float) -> str:
    """The action under way, REST, or "" where nobody can say (letting go)."""
    for p in session.performed:
        if _begin_s(p) <= time_s < p.time_s(p.clip.end):
            return p.clip.action
        if p.time_s(p.clip.end) <= time_s < p.time_s(p.clip.end) + AFTERGLOW_S:
            return ""
    return REST


def _outcome(p: Performed, verdicts: list[dict[str, Any]], grips: GripMap) -> Outcome:
    rule = grips.actions.get(p.clip.action)
    wanted = (rule.grip or "") if rule else ""
    inside = [(t, g) for t, g in _commands(verdicts) if _begin_s(p) <= t < p.time_s(p.clip.end)]
    right = [t for t, g in inside if g == wanted]
    delay = right[0] - p.time_s(p.clip.onset) if right and p.clip.onset is not None else None
    return Outcome(p, wanted, delay, tuple(g for _, g in inside if g != wanted))


def write_report(
    folder: Path, session: Session, summary: Summary, grips: GripMap, title: str, export_table: str
) -> tuple[Path, Path]:
    """report.md and report.png into the folder."""
    picture = folder / "report.png"
    write_atomic(picture, _draw(session, summary))
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
        delay = (
            f"{1000 * o.delay_s:.0f} ms"
            if o.delay_s is not None
            else "never"
            if o.performed.clip.onset is not None
            else "no onset found"
        )
        outcomes.append(
            f"| {o.performed.clip.action} | {o.performed.clip.repetition} | {o.wanted or '-'} | {delay} | {', '.join(o.wrong) or '-'} |"
        )
    mapping = ["| action | grip | threshold | why |", "|---|---|---|---|"]
    mapping += [f"| {' | '.join(row)} |" for row in grip_table(grips, s.actions)]
    last = next((e for e in reversed(session.events) if e["event"] == "summary"), {})
    return f"""# {title}

![timeline, confusion and delays]({picture})

Not a medical device. One person, one session, an emulated armband and an emulated hand: the bytes are real, the EMG is
real, the hand is not. The person was never trained on; calibration saw repetition 1, the session below the others.

## In short
- {len(s.outcomes)} executions of {len(s.actions) - 1} actions; the right command came in {reached} of the {with_onset} whose muscle onset could be found.
- Delay from EMG onset (fixed detector, blind to the model) to the first right command, gate included: {delay_line}.
- Decisions inside executions that were right, actions balanced: {s.right_hops:.1f} % (chance {100 / len(s.actions):.1f} %).
- Grips newly commanded while the wearer rested: {s.at_rest} in {s.rest_s:.0f} s.
- Lost samples: {last.get("front_end", {}).get("lost_samples", "?")}; loop lateness p99: {_spread(last.get("late", {}))}.

## Action -> grip
`meaning`: the grip follows from what the action is. `chosen`: somebody picked it; these armband data are mostly wrist actions.

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
{export_table}
"""


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "none"


def _spread(late: dict[str, Any]) -> str:
    for key in ("p99_ms", "p99"):
        if isinstance(late.get(key), int | float):
            return f"{late[key]:.1f} ms"
    return f"{1000 * late['p99_s']:.1f} ms" if isinstance(late.get("p99_s"), int | float) else "?"


def _draw(session: Session, s: Summary) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.5, 1])
    _draw_timeline(figure.add_subplot(grid[0, :]), session, s)
    _draw_confusion(figure.add_subplot(grid[1, 0]), s)
    axes = figure.add_subplot(grid[1, 1])
    axes.hist(np.array(s.delays_s) * 1000, bins=np.arange(0, 1600, 50), color="#2a6f97")
    axes.axvspan(100, 125, color="#40916c", alpha=0.25, label="best for wearers (100-125 ms)")
    axes.axvline(300, color="#9d0208", linestyle="--", label="outer limit (300 ms)")
    axes.set(xlabel="ms from EMG onset to the first right command", ylabel="executions", title="Delay, gate included")
    axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _draw_timeline(axes: Any, session: Session, s: Summary) -> None:
    zero = session.begun_s
    for p in session.performed:
        row = s.actions.index(p.clip.action)
        axes.broken_barh([(_begin_s(p) - zero, p.time_s(p.clip.end) - _begin_s(p))], (row - 0.4, 0.8), color="#cfe8ef")
    decisions = [e for e in session.events if e["event"] == "decision" and e["action"] in s.actions]
    for accepted, colour, size in ((False, "#b0b0b0", 3), (True, "#2a6f97", 6)):
        chosen = [d for d in decisions if bool(d["accepted"]) == accepted]
        axes.scatter(
            [d["time_s"] - zero for d in chosen],
            [s.actions.index(d["action"]) for d in chosen],
            s=size,
            color=colour,
            label="match, accepted by the decoder" if accepted else "match, not accepted",
        )
    grips = [*dict.fromkeys(o.wanted for o in s.outcomes if o.wanted)]
    base = len(s.actions)
    for i, grip in enumerate(grips):
        times = [t - zero for t, g in _commands([e for e in session.events if e["event"] == "verdict"]) if g == grip]
        axes.scatter(
            times,
            [base + i] * len(times),
            marker="v",
            s=30,
            color="#9d0208",
            label="command to the hand" if i == 0 else None,
        )
    states = session.hand
    for a, b in zip(states, [*states[1:], None], strict=True):
        end = (b.time_s if b else session.ended_s) - zero
        name = a.grip
        if name in grips and end > 0:
            begin = max(a.time_s - zero, 0)
            axes.broken_barh(
                [(begin, end - begin)],
                (base + grips.index(name) - 0.3, 0.6),
                color="#f2b5b5" if a.moving else "#f9dede",
            )
    axes.set_yticks(range(base + len(grips)), [*s.actions, *(f"hand: {g}" for g in grips)])
    axes.axhline(base - 0.5, color="black", linewidth=0.5)
    axes.set(
        xlabel="seconds",
        title="What the wearer did (blue bars), what was matched (dots), what the hand was told (triangles) and did (red bars)",
    )
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper right")


def _draw_confusion(axes: Any, s: Summary) -> None:
    rows = np.maximum(s.confusion.sum(axis=1, keepdims=True), 1)
    share = 100 * s.confusion / rows
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    labels = [*s.actions, "other"]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(s.actions)), s.actions, fontsize=8)
    for i, row in enumerate(share):
        for j, value in enumerate(row):
            if value >= 0.5:
                axes.text(
                    j, i, f"{value:.0f}", ha="center", va="center", fontsize=7, color="white" if value > 55 else "black"
                )
    axes.set(title="Decisions (percent of each true action)")
