"""The recorded person: every clip is the recording's own samples around its cue, and onsets are blind to the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the [train] extra is not installed")

from myosem_edge.demo.wearer import LATEST_ONSET_S, LEAD_S, RELEASE_S, REST_CUT_S, Person, load_person
from myosem_edge.errors import InputError
from myosem_edge.learn.datasets import myo_readings8
from myosem_edge.learn.sample import PACK, PLAY, sample_folder

RATE_HZ = 200


@pytest.fixture(scope="module")
def person() -> Person:
    return load_person(sample_folder(), PLAY[0])


def test_seven_actions_six_times(person: Person) -> None:
    assert len(person.actions) == 7 and "rest" not in person.actions
    assert person.repetitions == 6 and len(person.clips) == 42
    assert not person.mirrored


def test_a_left_arm_is_told() -> None:
    assert load_person(sample_folder(), "p44444L").mirrored


def test_a_clip_is_rest_cue_contraction_and_release(person: Person) -> None:
    recordings = list(myo_readings8.read(sample_folder() / PACK, PLAY[0]))
    clip = person.clips["fist", 2]
    (fist,) = [r for r in recordings if r.facts["gesture"] == 7]
    cue = int(np.flatnonzero((fist.label == 7) & (fist.repetition == 2))[0])
    assert clip.cue == LEAD_S * RATE_HZ
    assert np.array_equal(clip.samples, fist.emg[cue - clip.cue : cue - clip.cue + len(clip.samples)])
    assert (fist.label[cue - clip.cue : cue] == 0).all()
    assert (fist.label[cue : cue + clip.end - clip.cue] == 7).all()
    assert len(clip.samples) - clip.end == RELEASE_S * RATE_HZ


def test_most_contractions_have_an_onset_at_a_human_delay(person: Person) -> None:
    found = [clip for clip in person.clips.values() if clip.onset is not None]
    assert len(found) > 0.7 * len(person.clips)
    delays = np.array([(clip.onset - clip.cue) / RATE_HZ for clip in found])
    assert delays.max() <= LATEST_ONSET_S and 0.1 < np.median(delays) < 0.8


def test_rest_is_long_enough_quiet_and_never_the_free_minute(person: Person) -> None:
    assert all(len(rest) > REST_CUT_S * RATE_HZ for rest in person.resting)
    quiet = np.median([np.abs(rest).mean() for rest in person.resting])
    loud = np.median([np.abs(clip.samples[clip.cue : clip.end]).mean() for clip in person.clips.values()])
    assert quiet < 0.5 * loud
    assert max(len(rest) for rest in person.resting) < 20 * RATE_HZ


def test_an_absent_person_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable recording file"):
        load_person(tmp_path, "nobody")
