"""What the exported int8 encoder is worth beside its teacher. `python benchmarks/bundle.py BUNDLE --data DIR`

Judged on people whom neither has seen: all of myo_cotelallard7 (another laboratory) and four of myo_readings8.
"""

from __future__ import annotations

from pathlib import Path

import click

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.bundle import bundle_from
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._training import one_thread, shipped_teacher
from myosem_edge.export.measure import int8_encode
from myosem_edge.learn.corpus.folders import load_sessions
from myosem_edge.learn.corpus.splits import DATASETS, Split
from myosem_edge.learn.scoring.embed import torch_encode
from myosem_edge.learn.scoring.fewshot import BUDGETS, few_shot
from myosem_edge.learn.scoring.metrics import error_ratio, over_people, paired
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.quantize.network import IntBody
from myosem_edge.runtime.decoder import Model


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--teacher", type=click.Path(path_type=Path), help="Teacher checkpoint (default: the shipped one).")
@click.option("--data", type=click.Path(path_type=Path), required=True, envvar="MYOSEM_DATA")
@json_option
def main(bundle: Path, teacher: Path | None, data: Path, as_json: bool) -> None:
    """Calibrated accuracy of teacher and int8 student after 1 s, 1, 2 and 3 repetitions."""
    one_thread()
    model = Model.from_bundle(bundle_from(bundle))
    trained = Trained.load(teacher or shipped_teacher())
    catalogue = load_catalogue()
    judged = Split(**trained.provenance["split"]).judged(load_sessions(data, DATASETS["research"], catalogue=catalogue))
    encoders = {
        "teacher, float32": torch_encode(trained),
        "student, int8": int8_encode(model.front, IntBody.from_tensors(model.tensors), model.view_weights),
    }
    prototypes = trained.prototypes(load_table()).numpy()
    rows, figures = [], {}
    for dataset in sorted({session.dataset for session in judged}):
        mine = [session for session in judged if session.dataset == dataset]
        found = {name: few_shot(mine, trained, encode, catalogue.ids, prototypes) for name, encode in encoders.items()}
        figures[dataset] = found
        for budget in BUDGETS:
            heads = {name: found[name][budget]["window"] for name in found}
            base = heads["student, int8"]["log-feature LDA"]
            ours = heads["student, int8"]["calibrated head"]
            rows.append(
                (
                    dataset,
                    budget,
                    *(f"{over_people(heads[name]['calibrated head']).mean:.1f}" for name in encoders),
                    f"{over_people(base).mean:.1f}",
                    str(paired(ours, heads["teacher, float32"]["calibrated head"])),
                    f"{error_ratio(ours, base).mean:.2f}",
                )
            )
    if as_json:
        print_json(figures)
        return
    header = ("people of", "calibration", *encoders, "log-feature LDA", "int8 minus teacher", "error relative to LDA")
    click.echo(table(rows, header))


if __name__ == "__main__":
    main()
