"""`myosem-edge export`: from a teacher to one signed bundle, and from a bundle to C for a microcontroller."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._training import Bar, one_thread, shipped_teacher
from myosem_edge.cli._types import SEED, FiniteRange
from myosem_edge.errors import BundleError

TARGETS = ("bundle", "cortex-m")
# The one option of a target that another one would ignore is better refused.
C_OPTIONS = {"target", "bundle", "out", "dry_run", "as_json"}


@click.command()
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default=TARGETS[0],
    show_default=True,
    help="What to write: a signed bundle, or the encoder of one (--from) as a folder of C11.",
)
@click.option(
    "--from",
    "bundle",
    type=click.Path(path_type=Path),
    help="With --target cortex-m: the bundle, which was judged and signed before.",
)
@click.option("--teacher", type=click.Path(path_type=Path), help="Teacher checkpoint (default: the shipped one).")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with recordings and roles.json (default: the shipped sample), or with your own recordings.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("myosem-shipped-1.myosem"),
    show_default="myosem-shipped-1.myosem; of C, NAME-VERSION-cortex-m",
    help="The bundle, or the new folder of C, to write.",
)
@click.option(
    "--size",
    type=click.Choice(["teacher", "15k", "50k", "120k"]),
    default="teacher",
    show_default=True,
    help="Parameters of the student; training a teacher of that size (train --set model.width=48) is better.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Steps of distillation; a student as large as its teacher needs none.",
)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option(
    "--grips", type=click.Path(path_type=Path), help="Grip map to put into the bundle (default: the shipped one)."
)
@click.option(
    "--key",
    default="dev",
    show_default=True,
    help="Signing key; 'dev' is made on first use and drives emulated hands only.",
)
@click.option("--name", default="myosem-shipped", show_default=True)
@click.option("--bundle-version", default="1", show_default=True)
@click.option(
    "--max-int8-loss",
    type=FiniteRange(-100, 100),
    default=0.5,
    show_default=True,
    help="Refuse if int8 costs more points than this.",
)
@click.option(
    "--rounded-steps",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Train the body so many steps with its roundings in place (quantisation-aware).",
)
@click.option("--layers", is_flag=True, help="Measure on the judges which layer's rounding hurts.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; train and write nothing.")
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    target: str,
    bundle: Path | None,
    teacher: Path | None,
    data: Path | None,
    out: Path,
    size: str,
    steps: int,
    seed: int,
    grips: Path | None,
    key: str,
    name: str,
    bundle_version: str,
    max_int8_loss: float,
    rounded_steps: int,
    layers: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Distil the teacher, quantise to int8, cache the descriptions, sign one bundle - and say what each step cost.

    A student smaller than the teacher is distilled on the `distil` people of the data folder; ranges and constants are
    measured on them. Everything is judged on the `judge` people, whom nothing was trained on. The same inputs give the
    same bundle.

    --target cortex-m --from BUNDLE writes that bundle's encoder as C11 without heap or floating point, with its golden
    vectors and a README; nothing is trained.
    """
    if target != TARGETS[0]:
        _export_c(ctx, bundle, out, dry_run, as_json)
        return
    if bundle is not None:
        raise click.UsageError("--from is for --target cortex-m; a bundle is made from a teacher")
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.export.distil import DistilConfig, student_config
    from myosem_edge.export.pipeline import check_target, export_bundle
    from myosem_edge.export.sides import sides
    from myosem_edge.keys import DEV_KEY, ensure_dev_key, is_dev_name, load_private, private_path
    from myosem_edge.learn.teacher.checkpoint import Trained
    from myosem_edge.runtime.grips import default_grips_path, load_grip_map

    check_target(out, name, bundle_version)
    one_thread()
    trained = Trained.load(teacher or shipped_teacher())
    grip_map = load_grip_map(grips or default_grips_path(), load_catalogue().ids, load_catalogue().grips)
    # The development key is made on first use, which a dry run is not.
    private = load_private(key) if key != DEV_KEY or private_path(key).exists() else None
    if dry_run:
        distilled = student_config(trained.encoder.config, size) != trained.encoder.config
        how = (
            f"distil {size} from {trained.family} in {steps} steps" if distilled else f"take {trained.family} as it is"
        )
        who = sides(trained, data)
        people = len({session.person for session in who.distil})
        click.echo(f"would {how}, with {people} people for ranges and constants,")
        click.echo(f"judge on {who.judges}, sign with '{key}' and write {out}")
        return
    bar = Bar()
    with bar.shown():
        who = sides(trained, data, bar.update)
        private = private or ensure_dev_key()
        done = export_bundle(
            trained,
            who.distil,
            who.judge,
            out,
            private,
            name=name,
            version=bundle_version,
            grips=grip_map,
            same_people=who.same_people,
            config=DistilConfig(size=size, steps=steps, seed=seed),
            max_int8_loss=max_int8_loss,
            rounded_steps=rounded_steps,
            layers=layers,
            progress=bar.update,
        )
    if as_json:
        print_json(done.to_dict())
        return
    rows = [
        (
            step.name,
            f"{step.bytes / 1000:.0f} kB",
            f"{step.seconds:.0f} s",
            *(
                (f"{c.zero_shot:.1f}", f"{c.calibrated:.1f}", f"{c.log_lda:.1f}", f"{c.hudgins_lda:.1f}")
                if (c := step.cost)
                else ("", "", "", "")
            ),
        )
        for step in done.steps
    ]
    click.echo(table(rows, ("step", "size", "time", "zero-shot R@1", "calibrated", "log-feature LDA", "Hudgins LDA")))
    apart = ", in other sessions or repetitions than trained on" if who.same_people else ""
    click.echo(f"Percent right per hop on {who.judges}{apart}.")
    click.echo("Calibrated = one repetition of each action, as for both LDAs.")
    zero_shot, calibrated = done.int8_loss
    click.echo(f"int8 costs the student {zero_shot:.2f} points zero-shot and {calibrated:.2f} calibrated.")
    if (o := done.operations) is not None:
        click.echo(
            f"One decision: {o.streaming / 1000:.0f} k multiply-adds (front {o.front / 1000:.0f} k, body "
            f"{o.body / 1000:.0f} k); from its window of {o.receptive_frames} frames anew: {o.windowed / 1000:.0f} k."
        )
    if done.layers:
        harms = [(h.place, f"{h.h_apart:.1e}", f"{h.z_apart:.1e}", f"{h.changed_percent:.2f} %") for h in done.layers]
        click.echo(table(harms, ("rounded alone", "1 - cosine of h", "of z", "another nearest description")))
    click.echo(f"Wrote {done.path} (sha256 {done.sha256[:16]}, signed with '{key}')")
    if is_dev_name(key):
        click.echo(
            "A dev key drives emulated hands only. For a real hand: myosem-edge keys new NAME, then export --key NAME"
        )


def _export_c(ctx: click.Context, bundle: Path | None, out: Path, dry_run: bool, as_json: bool) -> None:
    from myosem_edge.bundle import bundle_from
    from myosem_edge.export.c_folder import make_c_folder
    from myosem_edge.runtime.decoder import check_golden

    given = [name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if foreign := sorted(set(given) - C_OPTIONS):
        options = ", ".join("--" + name.replace("_", "-") for name in foreign)
        raise click.UsageError(f"{options}: of no use with --target cortex-m, which takes a bundle as it is")
    if bundle is None:
        raise click.UsageError("Missing option '--from': the bundle whose encoder becomes C")
    opened = bundle_from(bundle)
    if "out" not in given:
        out = Path(f"{opened.manifest.name}-{opened.manifest.version}-cortex-m")
    fits, found = check_golden(opened, "reference")
    if not fits:
        raise BundleError("the encoder does not give its own golden vectors", where=bundle, found=found)
    made = make_c_folder(opened)
    if not dry_run:
        made.write(out)
    if as_json:
        print_json({"folder": str(out), "written": not dry_run, **made.to_dict()})
        return
    rows = [
        ("constants", f"{made.array_bytes} bytes"),
        ("gallery", f"{made.gallery_bytes} bytes, where myosem_nearest is called"),
        ("state", f"{made.state_bytes} bytes for each arm"),
    ]
    click.echo(table(rows))
    click.echo(f"{'Would write' if dry_run else 'Wrote'} {len(made.files)} files to {out}")
    if not dry_run:
        click.echo(f"Next: make -C {out} check; README.md there says how to call it")
