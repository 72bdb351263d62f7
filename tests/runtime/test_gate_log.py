"""Everything that shaper and gate depend on, through JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.runtime.decision import Decision
from myosem_edge.runtime.emg_log import emg_crc32, emg_events, emg_from_events
from myosem_edge.runtime.gate import Command, Inputs, Reason, Request, State, Wearer
from myosem_edge.runtime.gate_log import (
    Rules,
    Steps,
    exact,
    inputs_from_dict,
    shaper_from_dict,
    state_from_dict,
    state_to_dict,
    told,
)
from myosem_edge.runtime.grips import GripRule
from myosem_edge.runtime.limits import Limits
from myosem_edge.runtime.shaper import ShaperState
from myosem_edge.runtime.telemetry import encode
from tests.runtime.loop_bench import GRIPS

times = st.floats(allow_nan=False, allow_infinity=False)
anything = st.floats() | st.integers(-3, 3)
commands = st.builds(Command, st.sampled_from(["neutral", "open", "grip"]), st.none() | st.text(max_size=5), times)
requests = st.builds(
    Request, st.sampled_from(["none", "open", "grip"]), st.none() | st.text(max_size=5), anything, anything
)
pytestmark = pytest.mark.sr("SR-18")


def through_json(value: Any) -> Any:
    return json.loads(encode({"event": "x", "value": value}))["value"]


@given(
    state=st.builds(
        State,
        now_s=st.none() | times,
        healthy_since_s=st.none() | times,
        armed=st.booleans(),
        latched=st.none() | st.sampled_from(Reason),
        reasons=st.lists(st.sampled_from(Reason), max_size=4).map(tuple),
        votes=st.lists(st.tuples(st.sampled_from(("grip", "open")), st.none() | st.text(max_size=5)), max_size=4).map(
            tuple
        ),
        command=commands,
        message_times_s=st.lists(times, max_size=5).map(tuple),
    )
)
def test_a_gates_memory_comes_back_to_the_last_bit(state: State) -> None:
    assert repr(state_from_dict(through_json(state_to_dict(state)))) == repr(state)


@given(state=st.builds(ShaperState, st.none() | requests, anything, commands, st.none() | anything))
def test_a_shapers_memory_comes_back_to_the_last_bit(state: ShaperState) -> None:
    assert repr(shaper_from_dict(through_json(exact(asdict(state))))) == repr(state)


@given(
    inputs=st.builds(
        Inputs,
        anything,
        anything,
        anything,
        anything,
        requests,
        st.builds(Wearer, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
        st.none() | anything,
        anything,
        st.none() | st.text(max_size=5),
    )
)
def test_inputs_come_back_to_the_last_bit(inputs: Inputs) -> None:
    """Also what is no number, the sign of a zero, and whether a hand reports nothing."""
    assert repr(inputs_from_dict(through_json(told(inputs)))) == repr(inputs)


def test_what_is_as_always_takes_no_room() -> None:
    assert told(Command()) == {}
    assert told(Inputs(1.0, 0.0, 0.0, 0, Request())) == {
        "now_s": 1.0, "sample_age_s": 0.0, "lost_fraction": 0.0, "bad_channels": 0, "request": {},
    }  # fmt: skip
    assert told(Command(speed=-0.0)) == {"speed": -0.0}
    assert encode({"event": "x", **exact({"age": math.inf})}) == b'{"event":"x","age":{"number":"inf"}}\n'


def test_rules_come_back_without_notes() -> None:
    rules = Rules(Limits(max_speed=0.3), GRIPS.grips(), GRIPS)
    rows = {
        row["action"]: GripRule(row["grip"], row["threshold"], row["why"]) for row in through_json(list(rules.rows()))
    }
    assert Rules.from_dict(through_json(rules.to_dict()), rows) == rules


@given(
    size=st.integers(0, 300), channels=st.sampled_from([1, 8, 64, 300]), seed=st.integers(0, 99), lost=st.integers(0, 9)
)
def test_emg_comes_back_to_the_last_bit_in_lines_that_fit(size: int, channels: int, seed: int, lost: int) -> None:
    """Any bits: what is no number, and which one it is not; also a chunk that only tells of a loss."""
    bits = np.random.default_rng(seed).integers(0, 1 << 32, (size, channels), np.uint32)
    pieces = list(emg_events(Chunk(bits.view(np.float32), 1 << 40, 0.1 + 0.2, lost)))
    assert max(len(encode({"event": "emg", "time_s": 1e9 / 3, **piece})) for piece in pieces) < 4064  # a gap beside it
    assert [piece["more"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    again = through_json(pieces)
    assert all(emg_crc32(piece) == piece["crc32"] for piece in again)
    found = emg_from_events(again)
    assert np.array_equal(found.samples.view(np.uint32), bits) and found.samples.dtype == np.float32
    assert (found.first_sample, found.arrival_s, found.lost) == (1 << 40, 0.1 + 0.2, lost)


def test_golden_emg() -> None:
    (piece,) = emg_events(Chunk(np.array([[1.0, -2.5]], np.float32), 3, 1.25, 4))
    assert encode({"event": "emg", "time_s": 1.25, **piece}) == (
        b'{"event":"emg","time_s":1.25,"first_sample":3,"arrival_s":1.25,"lost":4,"channels":2,"samples":"AACAPwAAIMA=",'
        b'"more":false,"crc32":2109464262}\n'
    )


def test_golden_step() -> None:
    decision = Decision(7, 1.25, "fist", 0.1 + 0.2, 0.5, math.nan, "calibrated", True, "", nearest=(("fist", 0.9),))
    before = State(), ShaperState()
    inputs = Inputs(1.25, math.inf, 0.0, 0, Request(action="fist", decision_index=7, reject="threshold"))
    steps = Steps(Rules(Limits(), GRIPS.grips(), GRIPS))
    told = list(steps.events(inputs, before, (decision, "tense"), Command(), (Reason.NOT_ARMED,), anew=True))
    assert [kind for kind, _ in told] == ["rules", "row", "row", "row", "row", "state", "step"]
    assert encode({"event": "step", "time_s": 1.25, **told[-1][1]}) == (
        b'{"event":"step","time_s":1.25,"inputs":{"now_s":1.25,"sample_age_s":{"number":"inf"},"lost_fraction":0.0,'
        b'"bad_channels":0,"request":{"action":"fist","reject":"threshold","decision_index":7}},'
        b'"decision":{"index":7,"time_s":1.25,"action":"fist","probability":0.30000000000000004,"margin":0.5,'
        b'"similarity":{"number":"nan"},"source":"calibrated","accepted":true,"reason":""},"veto":"tense","command":{},'
        b'"reasons":["not-armed"]}\n'
    )
