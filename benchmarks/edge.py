"""Everything a decision costs, in one run: `make bench`, or `python benchmarks/edge.py BUNDLE --libemg PYTHON`

Our decoder on every backend, in floats, and from its whole window anew; LibEMG's Hudgins features and LDA on the same
stream; with --before an older checkout of this repository. Each is a process of its own with one thread, timed by the
same code, in turn in every repeat. Then a real `run` between emulated devices, and what a board installs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from installation import measure_installation

import myosem_edge
from myosem_edge.bench.measure import (
    Entry,
    Plan,
    Row,
    machine,
    measure_decoders,
    measure_run,
    one_thread,
    ours,
    require_measurable,
)
from myosem_edge.bench.person import load_stream
from myosem_edge.bench.tables import (
    DECODER_HEADER,
    HALF_HOP_MS,
    Lines,
    decoder_lines,
    ratio,
    run_lines,
    stage_lines,
)
from myosem_edge.bench.timing import Spread, rounded
from myosem_edge.bundle import Bundle, bundle_from
from myosem_edge.cli._output import table
from myosem_edge.files import write_atomic
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.runtime.child import child_environment

HERE = Path(__file__).parent
OURS = f"streaming, {BACKENDS[0]}"
LIBEMG, FLOAT, BEFORE = "LibEMG, Hudgins + LDA", "streaming, float32", "streaming, before"
# An older checkout knows nothing of the measuring code: everything but that comes from there.
OLDER = (
    "import myosem_edge; myosem_edge.__path__.append({ours!r}); from myosem_edge.bench.subjects import main; main{args}"
)


@click.command()
@click.argument("bundle_path", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--libemg", type=click.Path(path_type=Path), help="Python of an environment where LibEMG is installed.")
@click.option("--before", type=click.Path(path_type=Path), help="A checkout of this repository to compare with.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/bench"), show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--decisions", type=click.IntRange(10), default=4000, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=20.0, show_default=True, help="Of each `run`.")
@click.option("--installation/--no-installation", default=True, show_default=True, help="Install a wheel and look.")
def main(
    bundle_path: Path,
    libemg: Path | None,
    before: Path | None,
    out: Path,
    repeats: int,
    decisions: int,
    seconds: float,
    installation: bool,
) -> None:
    """One table, one plot, one JSON file."""
    bundle = bundle_from(bundle_path)
    require_measurable(bundle, ())
    plan = Plan(repeats, decisions, max(1, decisions // 4), max(1, decisions // 10), seconds)

    def progress(text: str) -> None:
        click.echo(text, err=True)

    here, stream = machine(), load_stream()
    rows = measure_decoders(entries(bundle_path, libemg, before), stream, plan, progress)
    run = measure_run(bundle, bundle_path, stream, BACKENDS[0], plan, progress)
    installed: dict[str, Any] = {}
    if installation:
        progress("installation")
        try:
            installed = measure_installation(out / "installation", repeats)
        except subprocess.CalledProcessError as error:
            installed = {"skipped": (error.stderr or str(error)).strip().splitlines()[-1]}
    found = {"machine": here, "bundle": bundle.manifest.file_name, "bundle_sha256": bundle.sha256, "repeats": repeats}
    found |= {"decisions": decisions, "decoders": [vars(row) for row in rows], "run": run, "installation": installed}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "bench.json", found)
    write_atomic(out / "bench.md", document(bundle, here, plan, rows, run, installed).encode())
    picture(rows, out / "bench.png")
    header = [name.format(base=LIBEMG) for name in DECODER_HEADER]
    click.echo(table(decoder_lines(rows, LIBEMG), header))
    click.echo(f"Wrote {out / 'bench.md'}, bench.json and bench.png")


def entries(bundle_path: Path, libemg: Path | None, before: Path | None) -> list[Entry]:
    """The peer first: ratios are to it."""
    plain = one_thread(child_environment())
    root = str(HERE.parent)
    found = []
    if libemg is not None:
        environment = one_thread({**os.environ, "PYTHONPATH": root})
        what = "its own functions for the features of a 250 ms window and the posteriors, without a filter"
        found.append(Entry(LIBEMG, what, [str(libemg), str(HERE / "libemg_child.py")], environment))
    found += ours(bundle_path, [("streaming", backend) for backend in BACKENDS])
    what = "the same network with its weights as float32 (not the student before rounding), ONNX Runtime"
    found.append(Entry(FLOAT, what, [sys.executable, str(HERE / "float_child.py"), str(bundle_path)], plain, True))
    found += ours(bundle_path, [("windowed", BACKENDS[0])])
    if before is not None:
        package = str(Path(myosem_edge.__file__).parent)
        code = OLDER.format(ours=package, args=("streaming", str(bundle_path.resolve()), BACKENDS[0]))
        environment = {**plain, "PYTHONPATH": str(before.resolve())}
        found.append(
            Entry(BEFORE, "an older checkout on the same bundle", [sys.executable, "-P", "-c", code], environment)
        )
    return found


def document(
    bundle: Bundle,
    here: dict[str, Any],
    plan: Plan,
    rows: list[Row],
    run: dict[str, list[float]],
    installed: dict[str, Any],
) -> str:
    """The page with every table."""
    kind = {"x86_64": "64-bit PC class", "aarch64": "64-bit Arm"}.get(here["machine"], here["machine"])
    parts = [
        "# What a decision costs",
        "Written by `make bench`. Medians of "
        f"{plan.repeats} repeats [least, most]; CPU time is this process's own, over {plan.decisions // 2} decisions a "
        f"repeat after a warm-up, p50 and p99 are wall time. Machine: {kind}, {here['cores']} cores, load "
        f"{here['load_before']} before the run; one thread each. Bundle: {bundle.manifest.file_name}, sha256 "
        f"{bundle.sha256[:16]}. Stream: the person of the shipped sample whom nothing was trained on, 8 channels at "
        "200 Hz, eight actions, calibrated on one repetition; a decision every 25 ms.",
        "![CPU of a decision relative to LibEMG](bench.png)",
        "## Decoders",
        markdown([name.format(base=LIBEMG) for name in DECODER_HEADER], decoder_lines(rows, LIBEMG)),
        "\n".join(f"- {row.name}: {row.what}." for row in rows),
        verdicts(rows, run),
        "## Stages of a hop, us of CPU",
        markdown(["stage", *(row.name for row in rows if row.stages)], stage_lines(rows)),
        '"Match" is the calibrated head and the descriptions, "choose" what makes a decision of their probabilities; '
        "shaper and gate follow in the loop. Reading the clock between stages costs about as much as a small stage.",
        f"## A real `run`, {BACKENDS[0]}",
        "Emulated armband and hand on pseudo-terminals, armed, profile in use; from the newest sample's last byte "
        "written to a command's bytes read by the hand, for commands that follow from a decision.",
        markdown(["figure", "found"], run_lines(run)),
        "## What a board installs",
        markdown(["what", "found"], installation_lines(installed)),
    ]
    return "\n\n".join(parts) + "\n"


def verdicts(rows: list[Row], run: dict[str, list[float]]) -> str:
    """The aims beside what was found."""
    by_name = {row.name: row for row in rows if not row.skipped}
    lines = []
    if (peer := by_name.get(LIBEMG)) and (mine := by_name.get(OURS)):
        lines.append(f"- CPU of a decision relative to LibEMG: {ratio(mine, peer)}; the aim was 0.2, better 0.1.")
    if (older := by_name.get(BEFORE)) and (mine := by_name.get(OURS)):
        lines.append(f"- Relative to the older checkout: {ratio(mine, older)}.")
    late = Spread(tuple(run["loop late p99, ms"]))
    lines.append(f"- The loop of `run` is late by {late} ms at p99; the aim was below half a hop, {HALF_HOP_MS:g} ms.")
    return "\n".join(lines)


def installation_lines(installed: dict[str, Any]) -> Lines:
    if "import_s" not in installed:
        return [("skipped", installed.get("skipped", "not asked for"))]
    sizes = installed["installed_mb"]
    lines = [
        ("wheel, MB", rounded(installed["wheel_mb"])),
        ("all packages installed, MB", rounded(sum(sizes.values()))),
    ]
    largest = sorted(sizes.items(), key=lambda each: -each[1])
    lines += [(f"of which {name}, MB", rounded(size)) for name, size in largest if size >= 0.5]
    lines += [(f"import of the {name}, s", str(Spread(tuple(s)))) for name, s in installed["import_s"].items()]
    return lines


def markdown(header: list[str], lines: Lines) -> str:
    rule = "|---" * len(header) + "|"
    return "\n".join(["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def picture(rows: list[Row], path: Path) -> None:
    """A bar for every decoder: CPU time of a decision relative to LibEMG's, or to ours where there is no LibEMG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    measured = [row for row in rows if not row.skipped]
    base = next((row for row in measured if row.name == LIBEMG), measured[0])
    ratios = [ratio(row, base) for row in measured]
    figure, axes = pyplot.subplots(figsize=(7.5, 0.45 * len(measured) + 1.2), layout="constrained")
    middles = [each.median for each in ratios]
    spread = [
        [max(0.0, m - min(r.values)) for m, r in zip(middles, ratios, strict=True)],
        [max(0.0, max(r.values) - m) for m, r in zip(middles, ratios, strict=True)],
    ]
    axes.barh([row.name for row in measured], middles, xerr=spread, color="#4c72b0", ecolor="#333333", capsize=3)
    axes.axvline(1.0, color="#888888", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel(f"CPU time of a decision relative to {base.name} (median, least to most)")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write_json(path: Path, found: dict[str, Any]) -> None:
    import json

    write_atomic(path, (json.dumps(found, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


if __name__ == "__main__":
    main()
