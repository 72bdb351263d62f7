"""What `run` says before it begins and when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from myosem_edge.cli._output import plain

if TYPE_CHECKING:  # a wrong option must not wait for it
    from myosem_edge.runtime.grips import GripMap


def grip_rows(grip_map: GripMap, names: dict[str, str]) -> list[Sequence[object]]:
    return [
        (action, rule.grip or "none", f"{rule.threshold:g}", rule.why, names.get(action, ""))
        for action, rule in sorted(grip_map.actions.items())
    ]


def start_text(facts: dict[str, Any]) -> str:
    who = f"profile {facts['profile']}" if facts["profile"] else "no profile: descriptions alone decide"
    front_end = ":".join(filter(None, (facts["front_end"], facts["front_end_options"])))
    development = " (development key)" if facts["dev_key"] else ""
    most = f"speed up to {facts['max_speed']:g}, force up to {facts['max_force']:g} of the hand's own"
    lines = [
        f"{facts['bundle']}, sha256 {facts['bundle_sha256'][:16]}, signed by {facts['key']}{development}",
        f"{front_end} -> {facts['backend']} -> {facts['hand']} on {facts['board'] or 'an unknown board'}",
        f"{who}; neutral is {facts['neutral']}, {most}",
        f"not armed: the hand moves only after you press a{' or the arm button' if facts['gpio'] else ''}",
    ]
    for what, name in (("presets of the hand", "presets"), ("grips", "grips")):
        if facts[name]:
            lines.insert(1, f"{what} from {facts[name]} (not signed)")
    return "\n".join(plain(line) for line in lines)


def end_text(summary: dict[str, Any], budget_ms: float | None) -> str:
    counts = " ".join(f"{name} {count}" for name, count in summary["counts"].items())
    budget = f", budget {budget_ms:g} ms" if budget_ms else ""
    return f"{counts}\nlate: {_spread(summary['late'])}\nsample to command: {_spread(summary['processing'])}{budget}"


def _spread(spread: dict[str, float | None]) -> str:
    return ", ".join(f"{name[:-3]} {spread[name]} ms" for name in ("p50_ms", "p99_ms", "max_ms"))
