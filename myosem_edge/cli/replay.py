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


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.argument("recording", type=click.Path(path_type=Path), required=False)
@click.option(
    "--log", type=click.Path(path_type=Path), help="A log of `run`, or a folder of them, in place of RECORDING."
)
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

    With --log, every request of the shaper and every verdict of the gate that `run --log` logged is made again from
    its logged inputs, and has to be the same to the last bit. Where EMG was logged (`run --record-emg`), a BUNDLE
    makes the decisions again, too, with the --profile that was worn.
    """
    if log is not None:
        if recording is not None or out is not None or other is not None:
            raise click.UsageError("--log takes no recording, --out and --compare")
        from myosem_edge.cli.replay_log import replay_log

        replay_log(log, bundle, profile, front_end_name, backend, as_json)
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
