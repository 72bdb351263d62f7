"""Decode a recording on whatever machine this runs on and keep what came out: `replay.py BUNDLE IN OUT BACKEND...`.

IN (.npz): `samples` (n, channels) in the front end's unit and, where the body alone is to be compared, `features`
(k, width) float32 as another machine's front made them. OUT (.npz), per backend: `h` and `z` of every hop from the
samples, `body_h` and `body_z` from the features, and the streaming decoder's decisions; and once this machine's own
`features`. Printed: one line on the machine, one per backend on the golden vectors.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

from myosem_edge.boards.profiles import detect_board
from myosem_edge.bundle import bundle_from
from myosem_edge.runtime.decoder import Model, check_golden
from myosem_edge.runtime.encoder import Body, Histories
from myosem_edge.runtime.replay import decide


class Tap:
    """A body that remembers the features it was given."""

    def __init__(self, body: Body) -> None:
        self._body, self.name, self.seen = body, body.name, np.zeros((0, 0), np.float32)

    def start(self) -> Histories:
        return self._body.start()

    def step(self, features: np.ndarray, state: Histories) -> tuple[np.ndarray, np.ndarray, Histories]:
        self.seen = features
        return self._body.step(features, state)


def main(bundle_path: Path, given_path: Path, out: Path, backends: list[str]) -> None:
    bundle = bundle_from(bundle_path)
    model = Model.from_bundle(bundle)
    with np.load(given_path, allow_pickle=False) as archive:
        given = {name: archive[name] for name in archive.files}
    detection = detect_board()
    print(f"{platform.machine()} {detection.board.name if detection.board else 'unknown'} numpy {np.__version__}")
    arrays: dict[str, np.ndarray] = {}
    for backend in backends:
        encoder = model.encoder(backend=backend)
        tap = Tap(encoder.body)
        encoder.body = tap
        encoded = encoder.whole(given["samples"])
        arrays["features"] = tap.seen
        body_h, body_z, _ = tap.step(given.get("features", tap.seen), tap.start())
        decisions = list(decide(model, given["samples"], None, backend))
        found = {
            "h": encoded.h,
            "z": encoded.z,
            "body_h": body_h,
            "body_z": body_z,
            "action": np.array([decision.action for decision in decisions]),
            "accepted": np.array([decision.accepted for decision in decisions]),
        }
        arrays |= {f"{backend}.{name}": array for name, array in found.items()}
        ok, detail = check_golden(bundle, backend)
        print("ok" if ok else "FAILED", detail)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
