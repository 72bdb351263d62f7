"""What is counted on an emulated board: `python -m myosem_edge.bench.counted BUNDLE PART BACKEND HOPS`.

So many hops of one part of a decision, from the moment the gate is armed on: two seconds of rest, then a grip, by a
calibrated wearer (`live.wear` makes the profile). All that comes before is the same however many hops there are and
whichever part it is, so the difference to a run of no hops is theirs alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from myosem_edge.bench.person import RATE_HZ, WEARER, load_stream
from myosem_edge.bundle import bundle_from
from myosem_edge.calibration.store import Store
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.gate import Inputs, State, Wearer, step
from myosem_edge.runtime.grips import load_hand_map
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import ShaperState, shape

PARTS = ("body", "encoder", "decision", "hop")
HOPS = 200  # that are counted: five seconds
WARM_UP = 41  # whole hops: after a second of good signal the gate takes the wearer's press
BEGIN_S = 3.0  # of the stream: at rest, six seconds before a grip


class Hops:
    """A decoder with a profile worn, behind it shaper and gate, which is armed already."""

    def __init__(self, bundle_path: Path, backend: str, store: Store) -> None:
        bundle = bundle_from(bundle_path)
        self.model = Model.from_bundle(bundle)
        self.decoder = Decoder(self.model, store.load(WEARER).enrolment, backend=backend)
        frame = self.decoder.encoder.frame_samples
        emg = load_stream().emg[round(BEGIN_S * RATE_HZ) :].astype(np.float32)
        self.frames = [emg[i * frame : (i + 1) * frame] for i in range(WARM_UP + HOPS)]
        self.grips = load_hand_map(bundle.member("grips.toml"), self.model.gallery.ids, AbilityHand.info)[0]
        self.whitelist = self.grips.grips() & frozenset(AbilityHand.info.grips)
        self.limits, self.gate, self.shaper = Limits(), State(), ShaperState()
        for number in range(WARM_UP):
            self.hop(number)

    def hop(self, number: int) -> None:
        """From the samples of a hop to the gate's verdict."""
        now_s = number * self.model.hop_s
        (decision,) = self.decoder.feed(Chunk(self.frames[number], 0, now_s))
        self.shaper, request = shape(self.shaper, decision, self.grips, self.limits, now_s, self.gate.command)
        inputs = Inputs(now_s, 0.0, 0.0, 0, request, Wearer(arm=not self.gate.armed))
        self.gate, _, _ = step(self.gate, inputs, self.limits, self.whitelist)

    def play(self, part: str, hops: int) -> None:
        """So many hops, at most HOPS, of one part.

        `body`: the encoder runtime's call. `encoder`: filter, front, features and covariance as well. `decision`:
        and the calibrated head, the descriptions and what is chosen. `hop`: and shaper and gate.
        """
        encoder = self.decoder.encoder
        body, state = encoder.body.start(), encoder.start()
        features = np.zeros((1, self.model.front.expand.shape[1]), np.float32)
        for number in range(WARM_UP, WARM_UP + hops):
            if part == "body":
                _, _, body = encoder.body.step(features, body)
            elif part == "encoder":
                _, state = encoder.step(self.frames[number], state)
            elif part == "decision":
                self.decoder.feed(Chunk(self.frames[number], 0, 0.0))
            else:
                self.hop(number)


if __name__ == "__main__":
    Hops(Path(sys.argv[1]), sys.argv[3], Store.here()).play(sys.argv[2], int(sys.argv[4]))
