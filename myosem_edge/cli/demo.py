"""`myosem-edge demo`: the whole chain on this computer, without hardware."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click

from myosem_edge.cli._output import table
from myosem_edge.cli.main import STOPPED
from myosem_edge.errors import MyosemError

PROFILE = "demo"
STOP_S = 5.0  # for the export to end by itself after Ctrl-C


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-report"),
    show_default=True,
    help="Folder for bundle, log and report.",
)
@click.option(
    "--repetitions",
    type=click.IntRange(1, 5),
    default=2,
    show_default=True,
    help="Repetitions of each action in the run.",
)
@click.option("--reuse-bundle", is_flag=True, help="Skip the export if the bundle is there already.")
def demo(out: Path, repetitions: int, reuse_bundle: bool) -> None:
    """Real people's EMG in, grip bytes out, and a report of what happened.

    Exports a bundle from the shipped teacher, plays a person nothing was trained on through an emulated armband in real
    time, calibrates on one repetition of each action, drives an emulated hand with the rest, and writes report.md and
    report.png.
    """
    from myosem_edge.actions.catalogue import load_catalogue
    from myosem_edge.bundle import bundle_from
    from myosem_edge.demo.play import Stage
    from myosem_edge.demo.report import grip_table, write_report
    from myosem_edge.demo.summary import summarise
    from myosem_edge.demo.wearer import load_person
    from myosem_edge.learn.sample import sample_folder, sample_roles
    from myosem_edge.runtime.grips import load_grip_map

    begun = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    bundle_path, log = out / "demo.myosem", out / "run.jsonl"
    _title("1/4  Export: teacher -> student -> int8 -> one signed bundle")
    if reuse_bundle and bundle_path.exists():
        click.echo(f"Using {bundle_path}")
    else:
        _export(bundle_path)
    bundle = bundle_from(bundle_path)
    catalogue = load_catalogue()
    grips = load_grip_map(bundle.member("grips.toml"), catalogue.ids, catalogue.grips)
    subject = sample_roles()["play"][0]
    person = load_person(sample_folder(), subject)
    tested = list(range(2, 2 + repetitions))
    with Stage(person) as stage:
        _title(f"2/4  Calibrate on one repetition per action of {subject}, whom nothing was trained on")
        stage.calibrate(bundle_path, PROFILE, click.echo)
        _title(f"3/4  Run on repetitions {', '.join(map(str, tested))}, in real time")
        log.unlink(missing_ok=True)
        stage.run(bundle_path, PROFILE, log, tested, _announce)
        session = stage.session
    _title("4/4  Report")
    summary = summarise(session, grips)
    export_table = _export_table(bundle.manifest.metrics)
    text, picture = write_report(out, session, summary, grips, f"Demonstration on {subject}", export_table)
    click.echo(table(grip_table(grips, summary.actions), ("action", "grip", "threshold", "why")))
    click.echo(
        "meaning: the grip follows from what the action is; chosen: picked, these data being mostly of the wrist.\n"
    )
    delays = sorted(summary.delays_s)
    median = f"{1000 * delays[len(delays) // 2]:.0f} ms" if delays else "none"
    found = sum(outcome.performed.clip.onset is not None for outcome in summary.outcomes)
    click.echo(
        f"Right command in {len(delays)} of the {found} executions whose onset was found, median delay {median};"
    )
    click.echo(
        f"{summary.right_hops:.0f} % of decisions right; {summary.at_rest} grips in {summary.rest_s:.0f} s of rest."
    )
    click.echo(f"Wrote {text} and {picture} after {time.monotonic() - begun:.0f} s.\n")
    click.echo("Next:")
    for line in next_commands(bundle_path):
        click.echo(f"  {line}")


def next_commands(bundle: Path) -> tuple[str, ...]:
    """The five commands a user types next."""
    return (
        "myosem-edge doctor",
        f"myosem-edge inspect {bundle}",
        f"myosem-edge verify {bundle}",
        f"myosem-edge query --bundle {bundle} --recording {_sample('p35622')} --action fist",
        f"myosem-edge profile show {PROFILE}",
    )


def _sample(subject: str) -> str:
    import os

    from myosem_edge.learn.sample import PACK, sample_folder

    return os.path.relpath(sample_folder() / PACK / f"{subject}.npz")


def _export(bundle: Path) -> None:
    from myosem_edge.runtime.child import child_command, child_environment

    command = child_command("myosem_edge", "export", "--out", str(bundle), "--name", "demo")
    with subprocess.Popen(command, env=child_environment()) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            # A terminal tells both of us; the export then says "stopped", and once is enough.
            try:
                code = process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
                raise KeyboardInterrupt from None
            if code != STOPPED:
                raise
    if code == STOPPED:
        raise click.exceptions.Exit(STOPPED)
    if code:
        raise MyosemError(f"myosem-edge export ended with exit code {code}", todo="Its own message stands above")


def _export_table(metrics: object) -> str:
    judges = metrics["judges"]  # type: ignore[index]
    rows = [(step, v) for step, v in judges.items() if not isinstance(v, str)]
    lines = [f"Judges: {judges['people']}; {judges['unit']}. Both LDAs were fitted on the same repetition.", ""]
    lines += [
        "| encoder | zero-shot R@1 | calibrated, 1 repetition | log-feature LDA | Hudgins LDA |",
        "|---|---|---|---|---|",
    ]
    keys = ("zero_shot_r1", "calibrated_1_repetition", "log_feature_lda", "hudgins_lda")
    lines += [f"| {step} | " + " | ".join(f"{v[k]:.1f}" for k in keys) + " |" for step, v in rows]
    return "\n".join(lines)


def _announce(done: int, total: int, action: str) -> None:
    if not sys.stdout.isatty():
        click.echo(f"  wearer: {action} ({done + 1}/{total})")


def _title(text: str) -> None:
    click.echo(f"\n== {text}")
