"""Our decoder as a child of the benchmark: `python -m myosem_edge.bench.subjects streaming BUNDLE BACKEND`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from myosem_edge.bench.person import PACK, labelled
from myosem_edge.bench.service import answers_only, serve
from myosem_edge.bench.timing import Clocks
from myosem_edge.bundle import bundle_from
from myosem_edge.calibration.enrol import enrol
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.hands.ability import AbilityHand
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.encoder import Encoded, EncoderState
from myosem_edge.runtime.gate import Inputs, State, Wearer, step
from myosem_edge.runtime.grips import GripMap, load_hand_map
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.match import Matcher
from myosem_edge.runtime.shaper import ShaperState, shape

HOP_S = 0.025
# Of a decision, and the two that follow it on the way to the hand.
STAGES = ("filter", "encode", "features and covariance", "match", "choose", "shaper", "gate")


class Decoding:
    """A model and its calibration; how a decision is made of them is the others' business."""

    def __init__(self, model: Model, grips: GripMap, backend: str) -> None:
        self.model, self.grips, self.backend = model, grips, backend

    def load(self, emg: list[list[int]], labels: list[int], frame: int, window: int) -> Mapping[str, Any]:
        from myosem_edge.actions.catalogue import load_catalogue

        catalogue = load_catalogue()
        actions = tuple(catalogue.resolve(PACK, gesture) for gesture in range(max(labels) + 1))
        samples = np.array(emg, np.float32)
        self.enrolment, _ = enrol(
            self.model, labelled(samples, np.array(labels), actions, frame), mirrored=False, backend=self.backend
        )
        self.frames = [samples[i : i + frame] for i in range(0, len(samples) - frame + 1, frame)]
        self.decoder = Decoder(self.model, self.enrolment, backend=self.backend)
        return {"frames": len(self.frames), "actions": list(actions)}


class Streaming(Decoding):
    """As it runs on a board: each frame is seen once, the rest is remembered."""

    def decide(self, frame: int) -> Decision:
        (decision,) = self.decoder.feed(Chunk(self.frames[frame % len(self.frames)], 0, 0.0))
        return decision

    def stages(self, decisions: int, clocks: Clocks) -> Mapping[str, float]:
        """A decision and what follows it, done as the decoder and the loop do, with the clock read in between."""
        encoder, decoder, limits = self.decoder.encoder, self.decoder, Limits()
        grips = self.grips.grips() & frozenset(AbilityHand.info.grips)
        past, shaper, gate = encoder.start(), ShaperState(), State()
        spent_ns = dict.fromkeys(STAGES, 0)
        for i in range(decisions):
            now_s, samples, marks = i * HOP_S, self.frames[i % len(self.frames)], [clocks.cpu_ns()]
            frames, filter_ = encoder.filtered(samples, past.filter)
            marks.append(clocks.cpu_ns())
            h, z, front, body = encoder.embedded(frames, past.front, past.body)
            marks.append(clocks.cpu_ns())
            measured, features, products = encoder.measured(frames, past.features, past.products)
            marks.append(clocks.cpu_ns())
            probabilities, cosines = decoder.matcher.match(Encoded(h, z, *measured))
            marks.append(clocks.cpu_ns())
            decision = decoder.decide(probabilities[0], cosines[0], float(measured[2][0]), now_s)
            marks.append(clocks.cpu_ns())
            shaper, request = shape(shaper, decision, self.grips, limits, now_s, gate.command)
            marks.append(clocks.cpu_ns())
            # Armed as soon as it can be: a gate that says no at once would be a cheap one.
            inputs = Inputs(now_s, 0.0, 0.0, 0, request, Wearer(arm=not gate.armed))
            gate, _, _ = step(gate, inputs, limits, grips)
            marks.append(clocks.cpu_ns())
            past = EncoderState(filter_, features, products, front, body)
            for stage, (begun_ns, done_ns) in zip(STAGES, pairwise(marks), strict=True):
                spent_ns[stage] += done_ns - begun_ns
        return {stage: ns / decisions / 1000 for stage, ns in spent_ns.items()}


class Windowed(Decoding):
    """The same decision from its whole receptive window anew at every hop, as a classifier without memory makes it."""

    def load(self, emg: list[list[int]], labels: list[int], frame: int, window: int) -> Mapping[str, Any]:
        from myosem_edge.quantize.network import IntBody
        from myosem_edge.quantize.operations import count_operations

        facts = super().load(emg, labels, frame, window)
        self.receptive = count_operations(self.model.front, IntBody.from_tensors(self.model.tensors)).receptive_frames
        samples = np.concatenate(self.frames)
        line = np.concatenate((samples[-self.receptive * frame :], samples))
        self.windows = [line[i * frame : (i + self.receptive) * frame] for i in range(1, len(self.frames) + 1)]
        self.encoder = self.decoder.encoder
        self.matcher = Matcher(self.model.gallery, self.model.operating_point.match, self.enrolment)
        return {**facts, "receptive_frames": self.receptive}

    def decide(self, frame: int) -> Any:
        encoded = self.encoder.whole(self.windows[frame % len(self.windows)])
        return self.matcher.match(encoded.last())[0].argmax()


KINDS: dict[str, type[Streaming | Windowed]] = {"streaming": Streaming, "windowed": Windowed}


def main(kind: str, bundle_path: str, backend: str) -> None:
    bundle = bundle_from(Path(bundle_path))
    model = Model.from_bundle(bundle)
    grips = load_hand_map(bundle.member("grips.toml"), model.gallery.ids, AbilityHand.info)[0]
    serve(KINDS[kind](model, grips, backend), answers_only())


if __name__ == "__main__":
    main(*sys.argv[1:])
