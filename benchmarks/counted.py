"""What is counted on an emulated board: so many hops of one part of a decision. `counted.py BUNDLE PART BACKEND HOPS`.

Everything but the hops themselves is the same however many there are, so the difference of two runs is theirs alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from myosem_edge.bundle import bundle_from
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.hands import hand
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.gate import Inputs, Limits, State, Wearer, step
from myosem_edge.runtime.grips import load_grip_map
from myosem_edge.runtime.shaper import ShaperState, shape

PARTS = ("body", "encoder", "decision", "hop")


def main(bundle_path: Path, part: str, backend: str, hops: int) -> None:
    """`body`: the encoder runtime's call. `encoder`: filter, features and front as well. `decision`: and the match.
    `hop`: and shaper and gate.
    """
    bundle = bundle_from(bundle_path)
    model = Model.from_bundle(bundle)
    decoder = Decoder(model, backend=backend)
    encoder, size = decoder.encoder, decoder.encoder.frame_samples
    frame = np.random.default_rng(0).normal(0.0, 10.0, (size, model.front.channels)).astype(np.float32)
    features = np.zeros((1, model.front.expand.shape[1]), np.float32)
    grips = load_grip_map(bundle.member("grips.toml"), decoder.matcher.gallery.ids, hand("ability").info.grips)
    limits, whitelist = Limits(), grips.grips()
    body_state, state, gate, shaper = encoder.body.start(), encoder.start(), State(), ShaperState()
    for number in range(hops):
        now_s = 1000.0 + number * model.hop_s
        if part == "body":
            _, _, body_state = encoder.body.step(features, body_state)
        elif part == "encoder":
            _, state = encoder.step(frame, state)
        else:
            (decision,) = decoder.feed(Chunk(frame, number * size, now_s))
            if part == "hop":
                shaper, request = shape(shaper, decision, grips, limits, now_s, gate.command)
                gate, _, _ = step(
                    gate, Inputs(now_s, 0.0, 0.0, 0, request, Wearer(arm=not gate.armed)), limits, whitelist
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
