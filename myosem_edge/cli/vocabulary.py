"""`myosem-edge vocabulary`: what free text can find, measured with sentences that nothing was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json
from myosem_edge.cli._training import Bar, data_option, one_thread, read_sessions, shipped_teacher
from myosem_edge.files import write_atomic


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@data_option
@click.option("--dataset", "datasets", multiple=True, help="Judge on these data sets only (default: all of them).")
@click.option(
    "--inner",
    type=click.Path(path_type=Path),
    help="A checkpoint trained like CHECKPOINT with --set hidden_actions=...: trained actions are handicapped by the "
    "constant that served best for the hidden ones, on people of the training.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for vocabulary.md and vocabulary.json.")
@json_option
def vocabulary(
    checkpoint: Path | None,
    data: Path,
    datasets: tuple[str, ...],
    inner: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure what free text finds (default: with the shipped teacher) on the people its split kept apart.

    Paraphrases stand in for free text: among descriptions, in EMG and from EMG, beside the catalogue's own texts; how
    antonyms are told apart; compounds composed of their parts; untrained beside trained actions.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.actions.paraphrases import load_paraphrase_table
    from myosem_edge.actions.table import load_table
    from myosem_edge.learn.corpus.splits import Split
    from myosem_edge.learn.datasets import data_set
    from myosem_edge.learn.teacher.checkpoint import Trained
    from myosem_edge.learn.vocabulary.measurement import measure_vocabulary
    from myosem_edge.learn.vocabulary.tables import to_markdown

    one_thread()
    trained = Trained.load(checkpoint or shipped_teacher())
    split = Split(**trained.provenance["split"])
    held_back = None if inner is None else Trained.load(inner)
    catalogue, table, paraphrases = load_catalogue(), load_table(), load_paraphrase_table()
    for name in datasets:
        data_set(name)
    bar = Bar()
    with bar.shown():
        sessions = read_sessions(data, split.datasets, catalogue, bar)
        result = measure_vocabulary(
            trained,
            split,
            sessions,
            catalogue,
            table,
            paraphrases,
            inner=held_back,
            datasets=datasets,
            progress=bar.update,
        )
    text = to_markdown(result)
    if out is not None:
        write_atomic(out / "vocabulary.md", text.encode())
        write_atomic(out / "vocabulary.json", json.dumps(result.to_dict(), indent=1).encode())
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(text)
