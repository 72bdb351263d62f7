"""Our own decoder as it is measured: the same decisions as on a board, and stages that are all of a hop."""

from __future__ import annotations

import numpy as np
import pytest

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.bench.person import load_stream
from myosem_edge.bench.subjects import STAGES, Decoding, Streaming, Windowed
from myosem_edge.bench.timing import Clocks
from myosem_edge.calibration.enrol import enrol
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decoder import Decoder, Model
from myosem_edge.runtime.grips import default_grips_path, load_grip_map
from tests.calibration.tiny_model import build

FRAME, WINDOW = 5, 50


@pytest.fixture(scope="module")
def model() -> Model:
    return build()


def loaded(kind: type[Streaming] | type[Windowed], model: Model) -> Streaming | Windowed:
    catalogue = load_catalogue()
    subject = kind(model, load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips), "reference")
    facts = subject.load(**load_stream().request(FRAME, WINDOW))
    assert facts["frames"] == 6064 and facts["actions"][7] == "fist"
    return subject


def test_it_decides_as_the_decoder_does_and_begins_again_at_the_end(model: Model) -> None:
    stream, subject = load_stream(), loaded(Streaming, model)
    enrolment, _ = enrol(model, stream.labelled(FRAME), mirrored=False, backend="reference")
    decoder = Decoder(model, enrolment, backend="reference")
    expected = decoder.feed(Chunk(stream.emg[: 40 * FRAME].astype(np.float32), 0, 0.0))
    found = [subject.decide(i) for i in range(40)]
    assert [d.action for d in found] == [d.action for d in expected]
    assert np.allclose([d.probability for d in found], [d.probability for d in expected])
    assert subject.decide(6064).index == 41


def test_a_windowed_decision_sees_the_frames_it_depends_on_and_no_other(model: Model) -> None:
    subject = loaded(Windowed, model)
    assert isinstance(subject, Windowed)
    assert subject.receptive == 10 + 2 * (1 + 2 + 1)
    assert {len(window) for window in subject.windows} == {subject.receptive * FRAME}
    assert np.array_equal(subject.windows[100][-FRAME:], subject.frames[100])
    encoded = subject.encoder.whole(subject.windows[100])
    assert subject.decide(100) == subject.matcher.match(encoded)[0][-1].argmax()


def test_stages_add_up_to_everything_between_the_readings_of_the_clock(model: Model) -> None:
    subject, readings = loaded(Streaming, model), iter(range(10**6))
    assert isinstance(subject, Streaming)
    stages = subject.stages(3, Clocks(cpu_ns=lambda: 1000 * next(readings)))
    assert stages == dict.fromkeys(STAGES, 1.0)  # a reading each, in the order of the stages
    assert next(readings) == 3 * (len(STAGES) + 1)


def test_a_base_decides_nothing_by_itself() -> None:
    assert not hasattr(Decoding, "decide")
