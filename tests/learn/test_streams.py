"""Whole streams: what counts as an event, a right command and a cue; a real person through a random model."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.calibration.enrol import NONE
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.sample import sample_folder
from myosem_edge.learn.scoring import streams
from myosem_edge.learn.scoring.streams import StreamResult, calibration_data, play_person, pool
from myosem_edge.runtime.gate import NEUTRAL, Command
from myosem_edge.runtime.grips import default_grips_path, load_grip_map
from tests.calibration import tiny_model

PERSON = "p35622"


@pytest.fixture(scope="module")
def recordings():
    return list(myo_readings8.read(sample_folder() / myo_readings8.NAME, PERSON))


@pytest.fixture(scope="module")
def names():
    return {gesture: load_catalogue().resolve(myo_readings8.NAME, gesture) for gesture in range(8)}


def hops(*commands):
    return [(0.025 * i, None, command) for i, command in enumerate(commands)]


def grip(name):
    return Command("grip", name, 0.5, 1.0)


def test_a_kept_grip_is_one_event_and_a_pause_does_not_make_it_two():
    line = hops(NEUTRAL, grip("power"), grip("power"), NEUTRAL, grip("power"), grip("pinch"))
    assert [g for _, g in streams._events(line)] == ["power", "pinch"]


def test_opening_in_between_makes_it_a_new_grip():
    line = hops(grip("power"), Command("open", None, 1.0, 0.0), grip("power"))
    assert [g for _, g in streams._events(line)] == ["power", "power"]


def test_calibration_is_one_hold_of_each_action_and_one_rest(recordings, names):
    data = calibration_data(recordings, names)
    assert data.actions[0] == "rest" and len(data.actions) == 8
    counts = [(data.action == k).sum() for k in range(8)]
    assert 70 <= counts[0] <= 80  # two seconds of rest
    assert all(80 <= count <= 90 for count in counts[1:])  # 3 s less the reaction and the release
    assert len(data.action) * 5 == len(data.samples)
    assert (data.action == NONE).any()


def first(recording, seconds):
    n = round(seconds * 200)
    cut = {name: getattr(recording, name)[:n] for name in ("emg", "label", "repetition", "usable")}
    return replace(recording, **cut)


def test_a_real_person_through_a_random_model_is_scored_without_luck(recordings, names):
    model = tiny_model.build()
    grips = load_grip_map(default_grips_path(), load_catalogue().ids, load_catalogue().grips)
    some = [first(r, 21) for r in recordings if r.facts["gesture"] in (0, 7)]
    result = play_person(some, names, model, grips, backend="reference")
    assert result.cues == 1  # two cues in 21 s, the first repetition was for calibration
    assert len(result.right_hops) == 1 and 0 <= result.right_hops[0] <= 1
    assert result.free_s == pytest.approx(21) and 3 < result.rest_s < 12
    figures = pool([result])
    assert 0 <= figures["reached_percent"] <= 100
    assert figures["onsets"] <= 1


def test_pooling_nothing_says_so():
    figures = pool(
        [StreamResult(delays_s=[None], right_hops=[0.0], cues=1, rest_s=3600.0, free_s=3600.0, rest_events=2)]
    )
    assert math.isnan(figures["delay_p50_ms"]) and figures["reached_percent"] == 0
    assert figures["rest_per_h"] == 2


@pytest.mark.parametrize(("event_s", "believed"), [(6.0, 1), (9.9, 0)])
def test_who_moves_before_the_cue_was_not_at_rest(recordings, names, event_s, believed):
    """Cues at 2 and 10 s, muscles at 2 and 9.6 s: by the cue both events are at rest, by the muscle only one."""
    rng = np.random.default_rng(0)
    time_s = np.arange(2800) / 200
    active = ((time_s >= 2) & (time_s < 4)) | (time_s >= 9.6)
    fist = next(r for r in recordings if r.facts["gesture"] == 7)
    stream = replace(
        fist,
        emg=(rng.normal(0, 1, (2800, 8)) * np.where(active, 10.0, 1.0)[:, None]).astype(np.float32),
        label=np.where(((time_s >= 2) & (time_s < 4)) | (time_s >= 10), 7, 0),
        repetition=np.ones(2800, dtype=int),
        usable=np.ones(2800, dtype=bool),
    )
    decided = SimpleNamespace(action="rest")
    hops = [(t, decided, grip("pinch") if t >= event_s else NEUTRAL) for t in np.arange(1, 560) * 0.025]
    grips = load_grip_map(default_grips_path(), load_catalogue().ids, load_catalogue().grips)
    result = StreamResult()
    streams._score(stream, names, hops, grips, tiny_model.build(), result, 1)
    assert (result.rest_events, result.believed_events) == (1, believed)
    assert 0 < result.believed_s < result.rest_s
