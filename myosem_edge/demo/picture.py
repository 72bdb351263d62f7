"""The session as one picture: timeline, confusion, delays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from myosem_edge.demo.play import Session
from myosem_edge.demo.summary import Summary, begin_s, commands_of


def draw(session: Session, s: Summary) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.5, 1])
    _draw_timeline(figure.add_subplot(grid[0, :]), session, s)
    _draw_confusion(figure.add_subplot(grid[1, 0]), s)
    axes = figure.add_subplot(grid[1, 1])
    axes.hist(np.array(s.delays_s) * 1000, bins=[50.0 * i for i in range(32)], color="#2a6f97")
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
        axes.broken_barh([(begin_s(p) - zero, p.time_s(p.clip.end) - begin_s(p))], (row - 0.4, 0.8), color="#cfe8ef")
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
        times = [t - zero for t, g in commands_of([e for e in session.events if e["event"] == "verdict"]) if g == grip]
        axes.scatter(
            times,
            [base + i] * len(times),
            marker="v",
            s=30,
            color="#9d0208",
            label="command to the hand" if i == 0 else None,
        )
    for begin, end, grip, moving in _postures(session):
        if grip in grips:
            axes.broken_barh(
                [(begin - zero, end - begin)],
                (base + grips.index(grip) - 0.3, 0.6),
                color="#f2b5b5" if moving else "#f9dede",
            )
    axes.set_yticks(range(base + len(grips)), [*s.actions, *(f"hand: {g}" for g in grips)])
    axes.axhline(base - 0.5, color="black", linewidth=0.5)
    axes.set(
        xlabel="seconds",
        title="The wearer (blue bars), the match (dots), the command (triangles), the hand (red bars)",
    )
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper right")


def _postures(session: Session) -> list[tuple[float, float, str, bool]]:
    """(from, to, grip, moving): the grip the hand was last driven into. A stop keeps the posture and so the grip."""
    found, grip = [], ""
    states = [state for state in session.hand if state.time_s >= session.begun_s]
    for state, after in zip(states, [*states[1:], None], strict=True):
        grip = state.grip if state.speed_byte else grip
        found.append((state.time_s, after.time_s if after else session.ended_s, grip, state.moving))
    return found


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
