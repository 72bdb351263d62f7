"""Whole streams behind the gate, against log-feature LDA. `python benchmarks/streams.py BUNDLE --data DIR`

Judged by default: the people of myo_readings8 whom the shipped model has never seen, all sessions.
"""

from __future__ import annotations

from pathlib import Path

import click
from scipy.stats import chi2

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.bundle import bundle_from
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import backend_option
from myosem_edge.learn.corpus.splits import SHIPPED_HELD_OUT
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.scoring.streams import StreamResult, play_person, pool
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.grips import load_grip_map


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, envvar="MYOSEM_DATA")
@click.option("--person", "people", multiple=True, default=SHIPPED_HELD_OUT, show_default=True)
@backend_option
@json_option
def main(bundle: Path, data: Path, people: tuple[str, ...], backend: str, as_json: bool) -> None:
    """Delay from EMG onset, wrong grips and false activations per hour, calibrated on one repetition."""
    opened = bundle_from(bundle)
    model = Model.from_bundle(opened)
    catalogue = load_catalogue()
    names = {gesture: catalogue.resolve(myo_readings8.NAME, gesture) for gesture in range(8)}
    grips = load_grip_map(opened.member("grips.toml"), catalogue.ids, catalogue.grips)
    results: dict[str, list[StreamResult]] = {"calibrated head": [], "log-feature LDA": []}
    for person in people:
        recordings = list(myo_readings8.read(data / myo_readings8.NAME, person))
        for session in sorted({r.session for r in recordings}):
            mine = [r for r in recordings if r.session == session]
            for name, peer in (("calibrated head", False), ("log-feature LDA", True)):
                results[name].append(play_person(mine, names, model, grips, peer=peer, backend=backend))
        click.echo(f"played {person}", err=True)
    figures = {name: {**pool(played), **_intervals(played)} for name, played in results.items()}
    if as_json:
        print_json(figures)
        return
    keys = list(next(iter(figures.values())))
    click.echo(table([(k, *(f"{figures[n][k]:.2f}" for n in figures)) for k in keys], ("figure", *figures)))


def _intervals(played: list[StreamResult]) -> dict[str, float]:
    """Exact 95 % Poisson intervals of the false activations per hour (Garwood 1936)."""
    found = {}
    for name in ("rest", "believed", "free"):
        events = sum(getattr(r, f"{name}_events") for r in played)
        hours = sum(getattr(r, f"{name}_s") for r in played) / 3600
        found[f"{name}_per_h_low"] = float(chi2.ppf(0.025, 2 * events) / 2 / hours) if events else 0.0
        found[f"{name}_per_h_high"] = float(chi2.ppf(0.975, 2 * events + 2) / 2 / hours)
    return found


if __name__ == "__main__":
    main()
