"""`train` and `query`: the training side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._training import Bar, data_option, one_thread, pick_device, read_sessions, shipped_teacher
from myosem_edge.cli._types import SEED, backend_option
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic

FINE_TUNING_STEPS, FINE_TUNING_RATE = 400, 1e-3  # of --init: enough to move to other electrodes, too little to forget


@click.command()
@data_option
@click.option(
    "--family",
    type=click.Choice(["shipped", "research", "own"]),
    default="research",
    show_default=True,
    help="shipped: MIT/Apache data only, may be distributed; research: everything; own: what `collect` recorded.",
)
@click.option(
    "--split",
    "kind",
    type=click.Choice(["people", "user", "repetition", "class", "action", "dataset", "days", "random"]),
    default="people",
    show_default=True,
    help="What is kept apart; random is leaky by construction.",
)
@click.option("--fold", type=click.IntRange(0, 2), default=0, show_default=True)
@click.option("--held-dataset", default="", help="With --split dataset: the data set that is never trained on.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/teacher"),
    show_default=True,
    help="Folder of this run; an interrupted one goes on.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any field of the configuration, e.g. steps=3000, model.width=96, model.semantic_queries=false.",
)
@click.option(
    "--init",
    metavar="CHECKPOINT",
    help="Go on from a trained model, `shipped` or a file: what fits is taken over, filters are stretched to another "
    "sampling rate. Fewer, smaller steps are then the default.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the encoder's forward pass. bf16 is for GPUs: on a CPU without bfloat16 instructions it is slow.",
)
@click.option("--compile", "compiled", is_flag=True, help="Compile the encoder (torch.compile): a slow first step.")
@click.option("--dry-run", is_flag=True, help="Show configuration and people; train nothing.")
def train(
    data: Path,
    family: str,
    kind: str,
    fold: int,
    held_dataset: str,
    out: Path,
    settings: tuple[str, ...],
    init: str | None,
    seed: int,
    device: str,
    precision: str,
    compiled: bool,
    dry_run: bool,
) -> None:
    """Train a teacher on recordings and descriptions.

    Ctrl-C loses at most a hundred steps: the same command goes on where it stopped. Writes teacher.safetensors,
    history.json and training.png into --out.

    Over several processes or GPUs: torchrun --standalone --nproc-per-node N -m myosem_edge train ...
    """
    from myosem_edge.actions.catalogue import OWN, load_catalogue
    from myosem_edge.actions.table import load_table
    from myosem_edge.calibration.collection import read_collection
    from myosem_edge.learn.corpus.sessions import frame_samples
    from myosem_edge.learn.corpus.splits import DATASETS, Split
    from myosem_edge.learn.protocols.runs import train_split
    from myosem_edge.learn.teacher import parallel
    from myosem_edge.learn.teacher.checkpoint import Trained
    from myosem_edge.learn.teacher.config import configure
    from myosem_edge.learn.teacher.train import TrainConfig, require_able

    one_thread()
    split = Split(family, kind, fold, held_dataset)
    start = None if init is None else Trained.load(shipped_teacher() if init == "shipped" else Path(init))
    config = TrainConfig(seed=seed, precision=precision)
    if start is not None:
        config = replace(config, model=start.encoder.config, steps=FINE_TUNING_STEPS, learning_rate=FINE_TUNING_RATE)
    if family == OWN:
        montage = read_collection(data / OWN).montage
        samples = frame_samples(montage.rate_hz)
        config = replace(config, model=replace(config.model, channels=montage.channels, frame_samples=samples))
    config = configure(config, settings)
    catalogue = load_catalogue()
    device = pick_device(device)
    with parallel.joined(device), Bar(quiet=not parallel.is_first()).shown() as bar:
        require_able(config, device)
        names = DATASETS[family]
        sessions = read_sessions(data, names, catalogue, bar)
        if dry_run:
            people = split.provenance(split.training(sessions, catalogue))["people"]
            if parallel.is_first():
                print_json({"config": config.to_dict(), "people": people, "device": device, "out": str(out)})
            return
        trained = train_split(
            split,
            sessions,
            config,
            catalogue,
            load_table(),
            folder=out,
            start=start,
            device=device,
            compiled=compiled,
            progress=lambda step, row: bar.update(
                "train", step, config.steps, f"loss {row['loss']:.2f} R@1 {100 * row['recall']:.0f} %"
            ),
        )
        first = parallel.is_first()
    if not first:
        return
    history = trained.provenance["history"]
    write_atomic(out / "history.json", json.dumps(history).encode())
    _plot_history(history, out / "training.png")
    click.echo(f"Wrote {out / 'teacher.safetensors'} ({(out / 'teacher.safetensors').stat().st_size / 1000:.0f} kB)")
    click.echo(f"Next: myosem-edge evaluate {out / 'teacher.safetensors'} --data {data}")


def _plot_history(history: Sequence[dict[str, float]], path: Path) -> None:
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in history]
    for name in ("text", "episodic"):
        left.plot(steps, [row[name] for row in history], label=name)
    left.set(xlabel="step", ylabel="loss", title="losses")
    left.legend()
    right.plot(steps, [100 * row["recall"] for row in history])
    right.set(xlabel="step", ylabel="percent", title="R@1 on the training batch")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomic(path, buffer.getvalue())


@click.command()
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, help="The bundle whose descriptions are searched."
)
@click.option(
    "--recording",
    "recordings",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A person's .npz, or .npy/.csv of (samples, channels).",
)
@click.option("--action", help="Find where this catalogue action occurs.")
@click.option("--text", help="Find where this free text occurs (needs the [text] extra).")
@click.option(
    "--find-ring",
    is_flag=True,
    help="Find how the band was turned from all recordings together: one person, one wearing, a minute of varied "
    "movement or more. Otherwise it is taken to sit as the maker shows.",
)
@click.option("--top", type=click.IntRange(1), default=5, show_default=True)
@backend_option
@json_option
def query(
    bundle: Path,
    recordings: tuple[Path, ...],
    action: str | None,
    text: str | None,
    find_ring: bool,
    top: int,
    backend: str,
    as_json: bool,
) -> None:
    """Search actions by EMG, or EMG by a description.

    Without --action and --text: which descriptions fit each recording best. With one of them: the stretches of the
    recordings that fit it best.
    """
    from myosem_edge.bundle import bundle_from
    from myosem_edge.learn import query as search
    from myosem_edge.runtime.decoder import Model, describe_gallery

    if action and text:
        raise InputError("a query has one description", found="--action and --text", expected="one of them")
    opened = bundle_from(bundle)
    model = Model.from_bundle(opened)
    names = describe_gallery(opened)
    streams = [
        stream for path in recordings for stream in search.read_streams(path, model.front.channels, model.rate_hz)
    ]
    if find_ring and opened.manifest.montage.turning_rings != 1:
        raise InputError("there is no ring to be found", where="--find-ring", found=opened.manifest.montage.layout)
    shift = search.find_ring(model, streams, backend) if find_ring else 0
    if find_ring:
        click.echo(
            f"The band sits {shift} of {model.front.channels} electrodes on from where the maker shows.", err=True
        )
    if text:
        prototype = search.free_text_prototype(opened, text)
    elif action:
        if action not in names:
            import difflib

            near = difflib.get_close_matches(action, names, n=1)
            raise InputError(
                f"'{action}' is not in this bundle",
                todo=f"Did you mean '{near[0]}'?" if near else "See: myosem-edge actions list",
            )
        prototype = search.free_text_prototype(opened, None, action)
    else:
        found = [(s.name, search.find_descriptions(model, s, backend, top, shift)) for s in streams]
        if as_json:
            print_json([{"recording": recording, "nearest": nearest} for recording, nearest in found])
            return
        for recording, nearest in found:
            click.echo(recording)
            click.echo(table([(f"{c:.3f}", a, names[a]) for a, c in nearest], ("cosine", "action", "description")))
        return
    stretches = search.find_stretches(model, streams, prototype, backend, top, shift)
    if as_json:
        print_json([s.to_dict() for s in stretches])
        return
    rows = [(f"{s.cosine:.3f}", s.recording, f"{s.start_s:.1f} s", f"{s.stop_s:.1f} s", s.label) for s in stretches]
    click.echo(table(rows, ("cosine", "recording", "from", "to", "labelled as")))
