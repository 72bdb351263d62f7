"""What an encoder becomes in C for a Cortex-M, beside its bundle. `python benchmarks/cortex_m.py BUNDLE...`

Agreement: recordings of the shipped sample's people whom nothing was trained on, kernel and bundle from the same raw
samples. Size and instructions: arm-none-eabi-gcc -O2 for a Cortex-M3, and QEMU; left out where they are not installed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import numpy as np

from myosem_edge.bundle import bundle_from
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.export.c_folder import float_features, make_c_folder
from myosem_edge.export.c_host import HostKernel
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.sample import sample_folder, sample_roles
from myosem_edge.quantize.network import IntBody
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit

FRAMES_LEFT_OUT = 24  # of each recording: the encoder has not heard its whole window yet


@click.command()
@click.argument("bundles", type=click.Path(path_type=Path), nargs=-1, required=True)
@json_option
def main(bundles: tuple[Path, ...], as_json: bool) -> None:
    """Agreement, flash, RAM and instructions of each bundle's encoder in C."""
    figures = {str(path): measure(path) for path in bundles}
    if as_json:
        print_json(figures)
        return
    rows = [(name, *(f"{found.get(name, float('nan')):.7g}" for found in figures.values())) for name in NAMES]
    click.echo(table(rows, ("figure", *figures)))


NAMES = (
    "frames",
    "inlet equal %",
    "inlet within 1 step %",
    "body byte-equal %",
    "h equal %",
    "cosine of z, least",
    "cosine of z, 0.1 % quantile",
    "cosine of z, mean",
    "nearest equal %",
    "flash bytes",
    "RAM bytes",
    "stack bytes",
    "instructions a frame",
)


def measure(path: Path) -> dict[str, float]:
    bundle = bundle_from(path)
    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder) / "host", Path(folder) / "arm"  # their objects have the same names
        for place in (here, there):
            make_c_folder(bundle).write(place)
        model = Model.from_bundle(bundle)
        return {**agreement(HostKernel(model, here)), **size(there)}


def agreement(kernel: HostKernel) -> dict[str, float]:
    model, body = kernel.model, IntBody.from_tensors(kernel.model.tensors)
    roles, folder = sample_roles(), sample_folder() / myo_readings8.NAME
    apart, same_body, same_h, cosines, nearest = [], [], [], [], []
    for person in (*roles["judge"], *roles["play"]):
        recordings = list(myo_readings8.read(folder, person))
        scale = _scale(model, [recording.emg for recording in recordings])
        for recording in recordings:
            fit = Fit(False, 0, scale)
            ran = kernel.run(recording.emg, fit)
            expected = model.encoder(fit, "reference").whole(recording.emg)
            features = body.inlet.quantise(float_features(model, recording.emg, scale))
            from_theirs = body.step(body.inlet.real(ran.features), body.start())[0]
            part = slice(FRAMES_LEFT_OUT, None)
            apart.append(np.abs(ran.features.astype(int) - features)[part])
            same_body.append((body.blocks[-1].out.quantise(from_theirs) == ran.h).all(axis=1)[part])
            same_h.append((body.blocks[-1].out.quantise(expected.h) == ran.h)[part])
            cosines.append((ran.z * expected.z).sum(axis=1)[part])
            nearest.append((ran.nearest == (expected.z @ model.gallery.prototypes.T).argmax(axis=1))[part])
    steps, cosine = np.concatenate(apart), np.concatenate(cosines)
    return {
        "frames": len(cosine),
        "inlet equal %": 100 * (steps == 0).mean(),
        "inlet within 1 step %": 100 * (steps <= 1).mean(),
        "body byte-equal %": 100 * np.concatenate(same_body).mean(),
        "h equal %": 100 * np.concatenate(same_h).mean(),
        "cosine of z, least": cosine.min(),
        "cosine of z, 0.1 % quantile": np.quantile(cosine, 0.001),
        "cosine of z, mean": cosine.mean(),
        "nearest equal %": 100 * np.concatenate(nearest).mean(),
    }


def _scale(model: Model, recordings: list[np.ndarray]) -> np.ndarray:
    """RMS per channel of everything that a person recorded."""
    squares = [np.square(model.filter.whole(recording.astype(np.float64))) for recording in recordings]
    return np.asarray(np.sqrt(np.concatenate(squares).mean(axis=0)))


def size(folder: Path) -> dict[str, float]:
    if not all(shutil.which(tool) for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm")):
        return {}
    weighed, checked = (
        subprocess.run(["make", "-C", str(folder), target], capture_output=True, text=True, check=True).stdout
        for target in ("size", "check-qemu")
    )
    text, data, bss = map(int, re.findall(r"^ *(\d+)\s+(\d+)\s+(\d+)", weighed, re.MULTILINE)[-1])
    stack, instructions = (re.findall(rf"{words}: (\d+)", checked)[0] for words in ("own included", r"instructions\)"))
    return {
        "flash bytes": text + data,
        "RAM bytes": data + bss,
        "stack bytes": int(stack),
        "instructions a frame": int(instructions),
    }


if __name__ == "__main__":
    main()
