"""What one decision costs: read nothing, just decode. `python benchmarks/encoder.py BUNDLE`"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from safetensors.numpy import load

from myosem_edge.bundle import bundle_from
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.discriminant import Lda
from myosem_edge.signal.features import log_features, window_sums

ROUNDS = 7  # interleaved, so that a busy moment of the machine hits every row


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def main(bundle: Path, as_json: bool) -> None:
    """Time per decision of a bundle on its own golden samples."""
    opened = bundle_from(bundle)
    model = Model.from_bundle(opened)
    samples = load(opened.member("golden.safetensors"))["samples"]
    size = model.filter.frame_samples
    frames = [samples[i : i + size] for i in range(0, len(samples) - size + 1, size)]
    channels = samples.shape[1]
    lda = Lda(np.random.default_rng(0).normal(size=(8, 3 * channels)), np.eye(3 * channels))
    window = 10 * size

    def decoder(backend: str) -> Callable[[], list[float]]:
        made = Decoder(model, backend=backend)

        def once() -> list[float]:
            return [_timed(lambda f=f, i=i: made.feed(Chunk(f, i * size, 0.0))) for i, f in enumerate(frames)]

        return once

    def windowed() -> list[float]:
        """The usual peer: filter and features of the whole 250 ms window at every hop, then one discriminant."""
        times = []
        for i in range(window, len(samples), size):
            part = samples[i - window : i].astype(np.float64)

            def decide(part: np.ndarray = part) -> None:
                filtered = model.filter.whole(part).reshape(-1, size, channels)
                lda.log_posteriors(log_features(window_sums(filtered), size)[-1:])

            times.append(_timed(decide))
        return times

    rows = {
        **{f"{backend}, whole decision": decoder(backend) for backend in BACKENDS},
        "log features of a 250 ms window + LDA": windowed,
    }
    found: dict[str, list[float]] = {name: [] for name in rows}
    for round_ in range(ROUNDS + 1):
        for name, once in rows.items():
            times = once()
            if round_:  # the first round warms up
                found[name] += times
    base = np.median(found[f"{BACKENDS[0]}, whole decision"])
    results = [
        {
            "what": name,
            "p50_us": round(1e6 * float(np.percentile(t, 50)), 1),
            "p99_us": round(1e6 * float(np.percentile(t, 99)), 1),
            "ratio": round(float(np.median(t) / base), 2),
        }
        for name, t in found.items()
    ]
    sizes = {name: member.size for name, member in opened.manifest.members.items()}
    if as_json:
        print_json({"rows": results, "bytes": sizes})
        return
    click.echo(table([tuple(row.values()) for row in results], ("what", "p50 us", "p99 us", "ratio")))
    click.echo(table([(name, f"{size / 1000:.1f} kB") for name, size in sizes.items()], ("member", "size")))


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
