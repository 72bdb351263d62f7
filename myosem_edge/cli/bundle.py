"""`myosem-edge inspect` and `myosem-edge verify`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from myosem_edge.bundle import GOLDEN, Bundle, Check, Inspection, inspect_bundle, verify_bundle
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.cli._types import backend_option
from myosem_edge.errors import BundleError, MyosemError
from myosem_edge.keys import trusted_keys

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))


@click.command()
@bundle_argument
@json_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Show what BUNDLE says of itself: montage, sizes, key, operating point, metrics.

    A bundle that no trusted key signed is shown too, marked NOT TRUSTED. A damaged one is refused.
    """
    found = inspect_bundle(bundle, trusted_keys())
    if as_json:
        print_json(
            {
                "sha256": found.sha256,
                "size": found.size,
                "trusted": found.distrust is None,
                "distrust": found.distrust,
                "key_name": found.key_name,
                "dev_key": found.is_dev,
                "manifest": asdict(found.manifest),
            }
        )
        return
    if found.distrust is not None:
        click.echo(f"NOT TRUSTED (integrity only): {found.distrust}\n")
    for heading, rows in _sections(found):
        click.echo(f"{heading}\n{table(rows) if rows else 'none'}\n")


@click.command()
@bundle_argument
@click.option("--skip-golden", is_flag=True, help="Leave out the golden vectors, which need an encoder runtime.")
@backend_option
@json_option
def verify(bundle: Path, skip_golden: bool, backend: str, as_json: bool) -> None:
    """Check BUNDLE from the outside in; stops at the first check that fails (exit code 4)."""
    golden = None if skip_golden else partial(check_golden, backend=backend)
    checks = verify_bundle(bundle, trusted_keys(), golden)
    passed = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": passed, "golden": not skip_golden, "checks": [asdict(check) for check in checks]})
    else:
        click.echo(table([("ok" if check.ok else "FAILED", check.name, check.detail) for check in checks]))
        if passed and skip_golden:
            click.echo("The golden vectors were not run: whether this machine decodes alike is not known.")
    if not passed:
        failed = checks[-1]
        raise BundleError(f"the check '{failed.name}' failed: {failed.detail}")


def check_golden(bundle: Bundle, backend: str) -> Check:
    """Run the golden vectors. Where that is not possible the check fails and says so: silence would read as a pass."""
    try:
        decoder = importlib.import_module("myosem_edge.runtime.decoder")
    except ImportError as error:
        return Check(GOLDEN, False, f"cannot be run here: {error}. Leave them out knowingly with --skip-golden")
    try:
        ok, detail = decoder.check_golden(bundle, backend)
    except MyosemError:
        raise  # has its own sentence
    except Exception as error:  # tensors that are signed but not those a decoder expects: the bundle's fault, not ours
        return Check(GOLDEN, False, f"did not run: {type(error).__name__}: {error}")
    return Check(GOLDEN, ok, detail)


def _sections(found: Inspection) -> Iterator[tuple[str, list[tuple[object, ...]]]]:
    manifest = found.manifest
    montage, signal = manifest.montage, manifest.filter
    use = " (development key: emulated hands only)" if found.is_dev else ""
    yield (
        f"{manifest.name} {manifest.version}",
        [
            ("model", manifest.model),
            ("signed by", f"{found.key_name or 'NOT TRUSTED'}{use}, key id {manifest.key_id}"),
            ("sha256", found.sha256),
            ("size", f"{found.size} bytes"),
            ("made with", f"myosem-edge {manifest.tool_version}, schema {manifest.schema}"),
            ("front ends", ", ".join(manifest.front_ends) or "none"),
            (
                "montage",
                f"{montage.device}, {montage.channels} channels ({montage.layout}),"
                f" {montage.rate_hz:g} Hz, {montage.unit}",
            ),
            ("prefiltered", montage.prefiltered or "no"),
            ("filter", f"{len(signal.sections)} sections, frames of {signal.frame_samples} samples"),
            ("window, hop", f"{manifest.window_ms:g} ms, {manifest.hop_ms:g} ms"),
            ("sizes", f"h {manifest.sizes.h}, z {manifest.sizes.z}, log features {manifest.sizes.log_features}"),
            (
                "quantisation",
                f"{manifest.quantisation.scheme}, activations {manifest.quantisation.activations},"
                f" weights {manifest.quantisation.weights}",
            ),
            ("descriptions", f"{manifest.descriptions}, by {manifest.encoder_id}"),
            (
                "tolerance",
                f"cosine at least {manifest.tolerance.cosine_min:g},"
                f" equal decisions at least {manifest.tolerance.equal_decisions_min:g}",
            ),
        ],
    )
    yield "Operating point", list(_flat(manifest.operating_point))
    yield "Metrics", list(_flat(manifest.metrics))
    yield "Members", [(name, f"{member.size} bytes", member.sha256) for name, member in manifest.members.items()]


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[object, ...]]:
    """Nested mappings as (dotted name, value) rows."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
