"""The pictures of a report, each as PNG with its width in pixels. Colours can be told apart without colour vision."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from myosem_edge.learn.scoring.landscape import Landscape
from myosem_edge.learn.scoring.metrics import Interval, over_people
from myosem_edge.learn.scoring.reliability import Curve, expected_error

OURS, PEER, THIRD, FOURTH = "#1f6f9e", "#e08214", "#7f7f7f", "#7b4ea3"  # blue, orange, grey, violet
DOTS_PER_INCH = 144
MOST_NUMBERED = 16  # columns of a matrix that still have room for numbers

Image = tuple[bytes, int]


def confusion(title: str, actions: Sequence[str], gallery: Sequence[str], percent: Sequence[Sequence[float]]) -> Image:
    """Rows true actions, columns descriptions; every row adds up to 100 percent."""
    shares = np.asarray(percent)
    cell = 0.46 if len(gallery) <= MOST_NUMBERED else 0.2
    names = [_spoken(name) for name in gallery]
    margin = 0.085 * max(map(len, names)) + 0.4
    size = (margin + cell * len(gallery) + 1.0, margin + cell * len(actions) + 0.6)
    figure, axes = _figure(size)
    image = axes.imshow(shares, vmin=0, vmax=100, cmap="Blues", aspect="equal")
    font = 9 if len(gallery) <= MOST_NUMBERED else 8
    axes.set_xticks(range(len(gallery)), names, rotation=90, fontsize=font)
    axes.set_yticks(range(len(actions)), [_spoken(name) for name in actions], fontsize=font)
    if len(gallery) <= MOST_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5:
                colour = "white" if share > 55 else "#1b1b1b"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("first description", fontsize=10)
    axes.set_ylabel("true action", fontsize=10)
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("percent of the action's hops", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return _png(figure)


def landscape(title: str, found: Landscape) -> Image:
    """Executions as dots, descriptions as numbered discs in the colour of their action; the legend has the numbers."""
    names = list(found.landmarks)
    rows = max(1, -(-len(names) // 24))
    figure, axes = _figure((6.2 + 2.1 * rows, 5.4))
    colours = _colours(len(names))
    points, actions = np.asarray(found.points).reshape(-1, 2), np.asarray(found.actions)
    for number, name in enumerate(names):
        own = actions == name
        axes.scatter(*points[own].T, s=13, color=colours[number], alpha=0.6, linewidths=0)
    for number, name in enumerate(names):
        x, y = found.landmarks[name]
        axes.scatter(x, y, s=150, color=colours[number], edgecolors="black", linewidths=1.0, zorder=3)
        dark = np.dot(colours[number][:3], (0.3, 0.59, 0.11)) < 0.55
        axes.text(
            x, y, str(number + 1), ha="center", va="center", fontsize=7, zorder=4, color="white" if dark else "black"
        )
        axes.scatter([], [], s=40, color=colours[number], label=f"{number + 1}  {_spoken(name)}")
    axes.set_xlabel(f"first principal axis ({100 * found.explained[0]:.0f} % of variance)")
    axes.set_ylabel(f"second principal axis ({100 * found.explained[1]:.0f} %)")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8, ncols=rows, frameon=False)
    return _png(figure)


def bars(title: str, unit: str, ours: Mapping[str, float], peer: Mapping[str, float], names: tuple[str, str]) -> Image:
    """One pair of bars a person, sorted by ours; dashed lines are the means."""
    people = sorted(ours, key=lambda person: -ours[person])
    figure, axes = _figure((max(4.5, 1.6 + 0.3 * len(people)), 3.9))
    place = np.arange(len(people))
    for offset, values, colour, name in ((-0.2, ours, OURS, names[0]), (0.2, peer, PEER, names[1])):
        if not values:  # a baseline that cannot name these actions
            continue
        heights = [values.get(person, 0.0) for person in people]
        mean = over_people(list(values.values()))
        axes.bar(place + offset, heights, 0.4, color=colour, label=f"{name}: {mean}")
        axes.axhline(mean.mean, color=colour, linestyle="--", linewidth=1, zorder=0)
    axes.set_xticks(place, [person.partition("/")[2] for person in people], rotation=90, fontsize=8)
    axes.set_xlim(-0.7, len(people) - 0.3)
    axes.set_ylim(0, 100)
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=10)
    figure.legend(loc="outside lower center", fontsize=9, ncols=2, frameon=False)
    return _png(figure)


def reliability(title: str, curves: Mapping[str, Curve]) -> Image:
    """Share right against probability; below it how many decisions there are of each probability."""
    figure, (axes, below) = _figure((4.8, 5.2), rows=2, heights=[3, 1], share=True)
    axes.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle="--")
    for (name, curve), colour, marker in zip(curves.items(), (OURS, PEER, THIRD), "os^", strict=False):
        confidence, right, share = (100 * np.asarray(column) for column in zip(*curve, strict=True))
        label = f"{name}: ECE {expected_error(curve):.1f} %"
        axes.plot(confidence, right, color=colour, marker=marker, markersize=5, label=label)
        below.plot(confidence, share, color=colour, marker=marker, markersize=4)
    axes.set(xlim=(0, 100), ylim=(0, 100), ylabel="right, percent")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, loc="upper left")
    below.set(xlabel="probability of the first description, percent", ylabel="hops, percent", ylim=(0, None))
    for each in (axes, below):
        each.grid(alpha=0.25)
    return _png(figure)


def budgets(title: str, rows: Mapping[str, Mapping[str, Mapping[str, float]]], heads: Sequence[str]) -> Image:
    """Percent right per hop against calibration: rows[budget][head][person]."""
    figure, axes = _figure((max(4.8, 1.5 * len(rows)), 4.2))
    for number, (head, colour, marker) in enumerate(zip(heads, (OURS, PEER, THIRD, FOURTH), "os^D", strict=False)):
        points = [over_people(each[head]) for each in rows.values()]
        place = np.arange(len(points)) + 0.06 * (number - 1)
        error = None if np.isnan(points[0].low) else np.array([[p.mean - p.low, p.high - p.mean] for p in points]).T
        means = [p.mean for p in points]
        axes.errorbar(place, means, yerr=error, color=colour, marker=marker, capsize=3, label=head)
    axes.set_xticks(range(len(rows)), [_wrapped(name) for name in rows], fontsize=9)
    axes.set_xlim(-0.4, len(rows) - 0.6)
    axes.set_ylabel("percent right per hop")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", fontsize=9, ncols=2, frameon=False)
    return _png(figure)


def differences(title: str, unit: str, rows: Sequence[tuple[str, Interval]]) -> Image:
    """A paired difference a row, with its interval where there is one; right of zero is better than the base."""
    figure, axes = _figure((6.4, 1.5 + 0.34 * len(rows)))
    place = np.arange(len(rows))[::-1]
    axes.axvline(0, color="#999999", linewidth=1)
    for y, (_, found) in zip(place, rows, strict=True):
        clear = not np.isnan(found.low) and (found.low > 0 or found.high < 0)
        if not np.isnan(found.low):
            axes.plot([found.low, found.high], [y, y], color=OURS, linewidth=2, solid_capstyle="butt")
        axes.plot(found.mean, y, "o", color=OURS, markerfacecolor=OURS if clear else "white", markersize=7)
    axes.set_yticks(place, [name for name, _ in rows], fontsize=9)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.1)
    return _png(figure)


def _figure(size: tuple[float, float], rows: int = 1, heights: Sequence[float] = (1,), share: bool = False) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots(rows, 1, sharex=share, height_ratios=heights)
    for each in np.atleast_1d(axes):
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue(), round(figure.get_figwidth() * DOTS_PER_INCH)


def _colours(count: int) -> Any:
    from matplotlib import colormaps

    return [colormaps["tab20" if count > 10 else "tab10"](i % 20) for i in range(count)]


def _spoken(action: str) -> str:
    return action.replace("_", " ")


def _wrapped(name: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(name, 20))
