"""Is the shipped model a better beginning for another front end than nothing? `python benchmarks/other_front_end.py`.

People of myo_cotelallard7, whom the shipped model has never seen, as a Cyton would record them: resampled to 250 Hz,
electrodes as sites, in microvolts. Two thirds are trained on, one third is judged, once from the shipped model and once
from random weights, beside LDA on the same calibration.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from myosem_edge.actions.catalogue import OWN, load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.cli._training import Bar, one_thread, shipped_teacher
from myosem_edge.cli.learn import FINE_TUNING_RATE, FINE_TUNING_STEPS
from myosem_edge.files import write_atomic
from myosem_edge.learn.corpus.sessions import Session, sessions_of
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.datasets import data_set
from myosem_edge.learn.datasets.recording import Recording
from myosem_edge.learn.protocols.runs import train_split
from myosem_edge.learn.report.document import Heading, Table, Text, markdown
from myosem_edge.learn.scoring.embed import torch_encode
from myosem_edge.learn.scoring.fewshot import few_shot
from myosem_edge.learn.scoring.metrics import over_people
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.train import TrainConfig
from myosem_edge.signal.montage import Montage

CYTON = Montage("cyton", 8, "sites", 250.0, "uV", "resampled from an armband")
PACK = "myo_cotelallard7"
UV_PER_COUNT = 5.0  # no published scale exists; only ratios matter here
BUDGETS = ("1 s", "1", "3")


def as_cyton(recording: Recording) -> Recording:
    """The same muscle through other electronics."""
    from scipy.signal import resample_poly

    emg = resample_poly(recording.emg, 5, 4, axis=0).astype(np.float32) * UV_PER_COUNT
    place = np.minimum(np.arange(len(emg)) * 4 // 5, len(recording.emg) - 1)
    return replace(
        recording,
        montage=CYTON,
        emg=emg,
        label=recording.label[place],
        repetition=recording.repetition[place],
        usable=recording.usable[place],
    )


def _tell(bar: Bar, stage: str, steps: int, step: int, numbers: dict[str, float]) -> None:
    bar.update(stage, step, steps)


def sessions(data: Path, people: int, bar: Bar) -> list[Session]:
    source, catalogue, found = data_set(PACK), load_catalogue(), []
    subjects = source.subjects(data / PACK)[:people]
    for number, subject in enumerate(subjects):
        bar.update("read recordings", number, len(subjects))
        found += sessions_of((as_cyton(r) for r in source.read(data / PACK, subject)), catalogue)
    return [replace(session, dataset=OWN) for session in found]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, envvar="MYOSEM_DATA")
@click.option("--people", type=click.IntRange(6), default=12, show_default=True)
@click.option("--steps", type=click.IntRange(1), default=FINE_TUNING_STEPS, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for other-front-end.md.")
def main(data: Path, people: int, steps: int, out: Path | None) -> None:
    """From the shipped model, and from nothing."""
    one_thread()
    catalogue, table, split = load_catalogue(), load_table(), Split(OWN, "user")
    shipped, bar, lines = Trained.load(shipped_teacher()), Bar(), []
    with bar.shown():
        everyone = sessions(data, people, bar)
        judged = split.judged(everyone, catalogue)
        model = replace(shipped.encoder.config, channels=8, frame_samples=6)
        baselines: dict[str, dict[str, float]] = {}
        for name, start, rate in (("shipped model", shipped, FINE_TUNING_RATE), ("random weights", None, 3e-3)):
            with tempfile.TemporaryDirectory() as folder:
                trained = train_split(
                    split,
                    everyone,
                    TrainConfig(model=model, steps=steps, learning_rate=rate),
                    catalogue,
                    table,
                    folder=Path(folder),
                    start=start,
                    progress=partial(_tell, bar, f"train from {name}", steps),
                )
            bar.update(f"judge {name}", 0, 1)
            prototypes = trained.prototypes(table).numpy()
            found = few_shot(judged, trained, torch_encode(trained), catalogue.ids, prototypes, BUDGETS)
            for head in ("calibrated head", "log-covariance LDA", "log-feature LDA", "Hudgins LDA"):
                figures = {b: over_people(found[b]["window"][head]).mean for b in BUDGETS}
                if head == "calibrated head":
                    lines.append([f"from {name}", *(f"{figures[b]:.1f}" for b in BUDGETS)])
                else:
                    baselines[head] = figures
    lines += [[head, *(f"{figures[b]:.1f}" for b in BUDGETS)] for head, figures in baselines.items()]
    page = markdown(
        [
            Heading("Another front end", 1),
            Text(
                f"Made by `python benchmarks/other_front_end.py --data DIR`: {people} people of `{PACK}` as a Cyton "
                f"would record them (250 Hz, sites, microvolts), {len({s.person for s in judged})} judged, the others "
                f"trained on for {steps} steps. Percent right per hop, calibrated on the seconds or repetitions above."
            ),
            Table(("", "1 s", "1 repetition", "3 repetitions"), lines),
        ]
    )
    if out is not None:
        write_atomic(out / "other-front-end.md", page.encode())
    click.echo(page)


if __name__ == "__main__":
    main()
