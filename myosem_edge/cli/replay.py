"""`replay`: decode a recording again, without any device."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import FiniteRange, backend_option, front_end_option
from myosem_edge.errors import InputError, RefusedError
from myosem_edge.files import require_writable, write_atomic

SHOWN_DIFFERENCES = 5


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.argument("recording", type=click.Path(path_type=Path), required=False)
@click.option("--log", type=click.Path(path_type=Path), help="Replay a log of `run` instead, and nothing else.")
@click.option("--profile", metavar="NAME", help="The wearer's profile (default: descriptions alone decide).")
@front_end_option
@backend_option
@click.option("--out", type=click.Path(path_type=Path), help="Write every decision, one JSON object a line.")
@click.option(
    "--compare", "other", type=click.Path(path_type=Path), help="What --out wrote on another machine or backend."
)
@click.option(
    "--least",
    type=FiniteRange(0, 100),
    default=99.9,
    show_default=True,
    help="With --compare: percent of decisions that must be equal.",
)
@json_option
def replay(
    bundle: Path | None,
    recording: Path | None,
    log: Path | None,
    profile: str | None,
    front_end_name: str,
    backend: str,
    out: Path | None,
    other: Path | None,
    least: float,
    as_json: bool,
) -> None:
    """Decode RECORDING (.npz, .npy or .csv) with BUNDLE, hop by hop as a stream would be.

    The recordings of an .npz are decoded one by one, each from a cold start. Nothing is driven: no gate, no hand.

    With --log, every verdict that `run --log` logged is made again from its logged inputs, and has to be the same.
    """
    if log is not None:
        if bundle is not None:
            raise click.UsageError("--log takes no bundle and no recording")
        _replay_log(log, as_json)
        return
    if bundle is None or recording is None:
        raise click.UsageError("Missing argument: BUNDLE and RECORDING, or --log")
    from myosem_edge.bundle import bundle_from
    from myosem_edge.calibration.store import Store
    from myosem_edge.firmware_bridge.arrays import checked_emg, read_arrays, require_borders
    from myosem_edge.firmware_bridge.frontends import make_front_end
    from myosem_edge.runtime.decoder import Model
    from myosem_edge.runtime.replay import compare, decide, read_lines, to_line

    opened = bundle_from(bundle)
    model = Model.from_bundle(opened)
    enrolment = None
    if profile is not None:
        store = Store.here()
        loaded = store.load(profile)
        loaded.require_fits(opened, make_front_end(front_end_name).info, where=store.path(profile, "current"))
        enrolment = loaded.enrolment
    arrays = read_arrays(recording, ("emg", "rec_ptr"))
    emg = checked_emg(arrays["emg"], recording, model.front.channels)
    borders = arrays.get("rec_ptr", np.array([0, len(emg)]))
    require_borders(borders, len(emg), recording)
    if out is not None:
        if any(out.exists() and other_file and out.samefile(other_file) for other_file in (bundle, recording, other)):
            raise InputError("would replace what is read", where=out, todo="Choose another name for --out")
        require_writable(out)
    theirs = None
    if other is not None:
        try:
            theirs = read_lines(other.read_text(encoding="utf-8"), other)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", where=other) from error
    lines = [
        to_line(number, decision)
        for number, (a, b) in enumerate(pairwise(int(p) for p in borders))
        if b > a
        for decision in decide(model, emg[a:b], enrolment, backend)
    ]
    if out is not None:
        write_atomic(out, "".join(json.dumps(line) + "\n" for line in lines).encode())
    agreement = None if theirs is None else compare(lines, theirs)
    counts = Counter((line["action"], line["accepted"]) for line in lines)
    actions = sorted({action for action, _ in counts}, key=lambda a: -counts[a, True])
    if as_json:
        shown = {action: {"accepted": counts[action, True], "rejected": counts[action, False]} for action in actions}
        print_json(
            {
                "backend": backend,
                "decisions": len(lines),
                "actions": shown,
                "agreement": agreement.to_dict() if agreement else None,
            }
        )
    else:
        rows = [(action, counts[action, True], counts[action, False]) for action in actions]
        click.echo(table(rows, ("decided", "accepted", "not accepted")))
        click.echo(f"{len(lines)} decisions of {len(borders) - 1} recordings, encoder backend {backend}")
        if out is not None:
            click.echo(f"Wrote {out}")
    if agreement is None:
        return
    if not as_json:
        where = "" if agreement.first_difference is None else f", the first difference at {agreement.first_difference}"
        click.echo(
            f"{agreement.equal} of {agreement.decisions} decisions equal{where}; where equal, probabilities are at "
            f"most {agreement.largest_probability_difference:.1e} apart"
        )
    if agreement.percent < least:
        raise RefusedError(
            "these are not the same decisions",
            where=other,
            found=f"{agreement.percent:.2f} % equal",
            expected=f"at least {least:g} %",
        )


def _replay_log(path: Path, as_json: bool) -> None:
    from myosem_edge.runtime.gate_log import read_events
    from myosem_edge.runtime.gate_log import replay as replayed_steps

    older = path.with_name(path.name + ".1")
    paths = [each for each in (older, path) if each.exists()] or [path]
    steps = same = lost = 0
    differences: list[tuple[float, str, str]] = []
    try:
        for each in replayed_steps(read_events(paths)):
            steps += 1
            lost += each.found is None
            same += each.found is not None and each.same
            if not each.same and len(differences) < SHOWN_DIFFERENCES:
                assert each.logged is not None and each.found is not None
                logged, found = (f"{c.kind} {c.grip or ''} {reasons}" for c, reasons in (each.logged, each.found))
                differences.append((each.time_s, logged, found))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"holds an event that no gate of this version logged ({error!r})", where=path) from error
    if not steps:
        raise InputError("holds no step of a gate", where=path, todo="Log one with: myosem-edge run --log FILE")
    facts = {"steps": steps, "same": same, "not_replayable": lost, "different": steps - same - lost}
    if as_json:
        shown = [{"time_s": time_s, "logged": logged, "found": found} for time_s, logged, found in differences]
        print_json({**facts, "differences": shown})
    else:
        click.echo(f"{steps} steps of the gate: {same} the same again, {facts['different']} different")
        if lost:
            click.echo(f"{lost} lie behind a gap, or before the first logged state: nothing can be said of them")
        for time_s, logged, found in differences:
            click.echo(f"at {time_s:.3f} s logged: {logged}; now: {found}")
    if facts["different"]:
        raise RefusedError(
            "the gate does not say the same again", where=path, found=f"{facts['different']} steps", expected="none"
        )
