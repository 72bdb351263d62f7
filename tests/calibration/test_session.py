"""The prompted session on a clock that only moves when told to: who is asked what, when, and which samples count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from myosem_edge.calibration.enrol import MIN_HOPS, NONE, enrol
from myosem_edge.calibration.session import (
    CUES,
    MAX_ATTEMPTS,
    REACTION_S,
    RELEASE_S,
    Cue,
    Plan,
    Prompt,
    Session,
)
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends.base import Chunk
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.runtime.decoder import MAX_FILL_SAMPLES, Model

NAMES = {"rest": "unused", "fist": "Close it.", "hand_open": "Open it.", "wrist_flexion": "Bend it."}
TICK_S = 0.02
PER_TICK = round(TICK_S * tiny_model.RATE_HZ)

Perform = Callable[[Prompt], str]


def obedient(prompt: Prompt) -> str:
    return prompt.action if prompt.kind == "hold" else "rest"


class Play:
    """A wearer, a lossy wire and a clock around one session."""

    def __init__(
        self,
        plan: Plan,
        perform: Perform = obedient,
        damage: Callable[[float, np.ndarray], tuple[np.ndarray, int] | None] = lambda now_s, samples: (samples, 0),
    ) -> None:
        self.session = Session(plan, Myo.info, tiny_model.FRAME, NAMES)
        self.now_s, self.prompts = 1000.0, list[tuple[float, Prompt]]()
        self._perform, self._damage, self._doing = perform, damage, "rest"
        self._muscle, self._first = tiny_model.Muscle(1), 0

    def step(self) -> list[Prompt]:
        self.now_s += TICK_S
        played = self._damage(self.now_s, self._muscle.play(self._doing, TICK_S))
        if played is not None:
            samples, lost = played
            self._first += lost + len(samples)
            self.session.feed([Chunk(samples, self._first - len(samples), self.now_s, lost)], self.now_s)
        prompts = self.session.tick(self.now_s)
        for prompt in prompts:
            self.prompts.append((self.now_s, prompt))
            self._doing = self._perform(prompt)
        return prompts

    def run(self) -> Play:
        for _ in range(100_000):
            if self.session.finished:
                return self
            self.step()
        raise AssertionError("the session never ends")

    def said(self, *kinds: str) -> list[tuple[str, str, int]]:
        return [(p.kind, p.action, p.repetition) for _, p in self.prompts if p.kind in kinds]


def test_the_order_of_prompts_is_the_plan() -> None:
    play = Play(Plan(("fist", "hand_open"), repetitions=2)).run()
    steps = [(action, number) for number in (1, 2) for action in ("rest", "fist", "hand_open")]
    expected = [(kind, *step) for step in steps for kind in ("prepare", "hold", "verdict", "relax")]
    assert play.said("prepare", "hold", "verdict", "relax", "done") == [*expected[:-1], ("done", "hand_open", 2)]
    assert play.session.failure is None
    assert play.session.accepted == 6


def test_each_phase_lasts_as_long_as_it_says() -> None:
    play = Play(Plan(("fist",), hold_s=2.0, prepare_s=1.0, relax_s=0.5)).run()
    timed = [(at_s, prompt) for at_s, prompt in play.prompts if prompt.kind != "verdict"]
    for (begin_s, prompt), (end_s, _) in pairwise(timed):
        assert end_s - begin_s == pytest.approx(prompt.seconds, abs=TICK_S + 1e-6)
    assert play.session.plan.duration_s == 7.0


def test_a_late_tick_does_not_shorten_the_next_phase() -> None:
    session = Session(Plan(("fist",)), Myo.info, 5, NAMES)
    assert [p.kind for p in session.tick(10.0)] == ["prepare"]
    assert [p.kind for p in session.tick(30.0)] == ["hold"]
    assert session.tick(32.9) == []
    assert [p.kind for p in session.tick(33.0)] == ["verdict", "relax"]


@pytest.mark.parametrize(
    ("cue", "prepare", "hold"),
    [
        ("hand", "Get ready: Close it.", "Now, and hold it comfortably: Close it."),
        (
            "mirror",
            "Get ready to do this with both sides together, as far as you feel the missing one: Close it.",
            "Both sides now, and hold it comfortably: Close it.",
        ),
        (
            "imagine",
            "Get ready to imagine this with the hand that is missing: Close it.",
            "Imagine it now, and keep it up: Close it.",
        ),
    ],
)
def test_the_words_suit_the_wearer(cue: Cue, prepare: str, hold: str) -> None:
    texts = {(p.kind, p.action): p.text for _, p in Play(Plan(("fist",), cue=cue)).run().prompts}
    assert texts["prepare", "fist"] == prepare
    assert texts["hold", "fist"] == hold
    assert texts["hold", "rest"] == "Relax your hand."


def test_only_the_settled_part_of_each_hold_is_labelled() -> None:
    play = Play(Plan(("fist", "hand_open"))).run()
    data = play.session.labelled()
    assert data.actions == ("rest", "fist", "hand_open")
    used_s = 3.0 - REACTION_S - RELEASE_S
    for k in range(3):
        hops = np.flatnonzero(data.action == k)
        assert len(hops) == pytest.approx(used_s * 40, abs=2)
        assert (np.diff(hops) == 1).all()
    frames = data.samples[: len(data.action) * 5].reshape(-1, 5, 8)
    level = np.abs(frames).mean(axis=(1, 2))
    assert level[data.action > 0].min() > 2 * level[data.action == 0].mean()


def test_labels_lie_where_the_clock_says() -> None:
    play = Play(Plan(("fist",))).run()
    hold_s = next(at_s for at_s, p in play.prompts if p.kind == "hold" and p.action == "fist")
    data = play.session.labelled()
    first = int(np.flatnonzero(data.action == 1)[0])
    begins_s = 1000.0 + first * 5 / 200  # nothing was lost, so samples count time
    assert 0 <= begins_s - (hold_s + REACTION_S) < 0.05


def test_a_session_is_enough_to_enrol(model: Model) -> None:
    play = Play(Plan(("fist", "hand_open", "wrist_flexion"), repetitions=2)).run()
    data = play.session.labelled()
    assert set(data.repetition[data.action != NONE]) == {1, 2}
    enrolment, report = enrol(model, data, mirrored=False, backend="reference")
    assert enrolment.actions == ("rest", "fist", "hand_open", "wrist_flexion")
    assert report.separation > 4


def test_the_shortest_plan_yields_enough_hops() -> None:
    data = Play(Plan(("fist",), hold_s=1.5, prepare_s=0.5, relax_s=0.5)).run().session.labelled()
    assert min(int((data.action == k).sum()) for k in range(2)) >= MIN_HOPS


def test_a_bad_repetition_is_asked_for_again_and_not_used() -> None:
    tries: Iterator[str] = iter(("rest", "fist"))

    def perform(prompt: Prompt) -> str:
        return next(tries) if (prompt.kind, prompt.action) == ("hold", "fist") else "rest"

    play = Play(Plan(("fist",)), perform).run()
    verdicts = [p.verdict for _, p in play.prompts if p.verdict and p.action == "fist"]
    assert [v.faults for v in verdicts] == [("too_weak",), ()]
    assert play.session.failure is None
    hops = np.flatnonzero(play.session.labelled().action == 1)
    assert len(hops) == pytest.approx(86, abs=2)  # of one hold, not of two


def test_three_bad_repetitions_end_the_session_with_a_sentence() -> None:
    play = Play(Plan(("fist", "hand_open")), lambda prompt: "rest").run()
    assert len(play.said("hold")) == 1 + MAX_ATTEMPTS
    assert play.session.finished
    assert play.session.failure is not None
    assert play.session.failure.startswith("'fist' could not be recorded in 3 attempts (too_weak). ")
    assert play.prompts[-1][1].kind == "done"
    assert play.session.failure in play.prompts[-1][1].text
    assert play.session.accepted == 1
    assert play.step() == []


def test_another_action_is_noticed() -> None:
    play = Play(Plan(("fist", "hand_open")), lambda p: "fist" if p.kind == "hold" and p.action != "rest" else "rest")
    play.run()
    assert play.session.failure is not None
    assert "(looks_like)" in play.session.failure
    assert "Close it." in play.session.failure


def holding(play: list[Play], action: str, since_s: float, until_s: float) -> bool:
    """Whether now lies between two moments of the first hold of an action."""
    begins = [at_s for at_s, p in play[0].prompts if (p.kind, p.action) == ("hold", action)]
    return bool(begins) and since_s <= play[0].now_s - begins[0] < until_s


@pytest.mark.parametrize(
    ("since_s", "until_s", "lost"),
    [(1.0, 1.02, 2), (1.0, 1.1, 2), (1.0, 1.4, 4), (0.1, 0.5, 4), (2.92, 3.0, 4)],
)
def test_losses_count_where_they_fall(since_s: float, until_s: float, lost: int) -> None:
    box: list[Play] = []

    def damage(now_s: float, samples: np.ndarray) -> tuple[np.ndarray, int]:
        if holding(box, "fist", since_s, until_s):
            return samples[lost:], lost
        return samples, 0

    box.append(Play(Plan(("fist",)), damage=damage))
    box[0].run()
    verdict = next(p.verdict for _, p in box[0].prompts if p.verdict and p.action == "fist")
    inside_s = max(0.0, min(until_s, 2.9) - max(since_s, 0.75))
    share = inside_s / TICK_S * lost / (2.15 * 200)
    assert verdict is not None
    assert verdict.lost == (share > 0.02)


def test_a_wire_that_is_silent_through_a_hold_is_lost_samples() -> None:
    box: list[Play] = []

    def damage(now_s: float, samples: np.ndarray) -> tuple[np.ndarray, int] | None:
        return None if holding(box, "fist", 1.0, 3.1) else (samples, 0)

    box.append(Play(Plan(("fist",)), damage=damage))
    faults = [p.verdict.faults for _, p in box[0].run().prompts if p.verdict]
    assert faults == [(), ("lost",), ()]


def test_short_holes_are_filled_with_silence_and_long_ones_cost_no_memory() -> None:
    for lost in (6, MAX_FILL_SAMPLES, 10**12):
        session = Session(Plan(("fist",)), Myo.info, 5, NAMES)
        session.feed([Chunk(np.ones((10, 8), np.float32), 0, 10.0)], 10.0)
        session.feed([Chunk(np.ones((10, 8), np.float32), 10 + lost, 11.0, lost)], 11.0)
        samples = session.labelled().samples
        filled = min(lost, MAX_FILL_SAMPLES)
        assert samples.shape == (20 + filled, 8)
        assert (samples[10 : 10 + filled] == 0).all()
        assert (np.delete(samples, np.s_[10 : 10 + filled], axis=0) == 1).all()


def test_values_that_are_no_numbers_never_reach_the_fit() -> None:
    box: list[Play] = []

    def damage(now_s: float, samples: np.ndarray) -> tuple[np.ndarray, int]:
        if holding(box, "fist", 1.0, 1.02):
            samples = samples * np.nan
        return samples, 0

    box.append(Play(Plan(("fist",)), damage=damage))
    faults = [p.verdict.faults for _, p in box[0].run().prompts if p.verdict]
    assert faults == [(), ("not_finite",), ()]
    assert np.isfinite(box[0].session.labelled().samples).all()


def test_an_aborted_session_holds_what_was_accepted_so_far() -> None:
    play = Play(Plan(("fist", "hand_open")))
    while not play.said("hold")[2:]:
        play.step()
    data = play.session.labelled()
    assert not play.session.finished
    assert set(data.action) == {NONE, 0, 1}


def test_a_session_without_a_sample_can_be_asked_too() -> None:
    session = Session(Plan(("fist",)), Myo.info, 5, NAMES)
    assert len(session.labelled().action) == 0


def test_samples_from_the_future_are_taken_as_of_now() -> None:
    session = Session(Plan(("fist",)), Myo.info, 5, NAMES)
    session.tick(0.0)
    session.tick(1.5)
    session.feed([Chunk(tiny_model.Muscle().play("rest", 3.0), 0, 99.0)], 4.5)
    assert session.tick(4.5)[0].verdict is not None
    assert session.accepted == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_the_cut_into_chunks_does_not_matter(cuts: list[int]) -> None:
    signal = tiny_model.Muscle(4).play("rest", 6.0)

    def run(cut: list[int]) -> tuple[bytes, bytes]:
        session = Session(Plan(("fist",)), Myo.info, 5, NAMES)
        session.tick(0.0)
        session.tick(1.503)  # no sample lies exactly on an edge, where rounding would decide
        at, turn = 0, 0
        while at < len(signal):
            end = min(len(signal), at + cut[turn % len(cut)])
            session.feed([Chunk(signal[at:end], at, end / 200)], end / 200)
            at, turn = end, turn + 1
        session.tick(6.0)
        data = session.labelled()
        return data.samples.tobytes(), data.action.tobytes()

    assert run(cuts) == run([7])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"actions": ()}, "nothing to calibrate"),
        ({"actions": ("rest",)}, "nothing to calibrate"),
        ({"actions": ("fist", "fist")}, "named twice .found fist"),
        ({"repetitions": 0}, "so many repetitions"),
        ({"repetitions": 11}, "so many repetitions"),
        ({"hold_s": 1.49}, "a hold cannot be"),
        ({"hold_s": float("nan")}, "a hold cannot be"),
        ({"hold_s": 10.1}, "a hold cannot be"),
        ({"prepare_s": 0.0}, "pauses are out of range"),
        ({"relax_s": 61.0}, "pauses are out of range"),
        ({"cue": "shout"}, "no such cue .found 'shout', expected hand, mirror, imagine"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Plan(**{"actions": ("fist",), **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("actions", [("fist",), ("rest", "fist"), ("fist", "rest")])
def test_rest_comes_first_whoever_names_it(actions: tuple[str, ...]) -> None:
    assert Plan(actions).actions == ("rest", "fist")
    assert CUES[0] == Plan(actions).cue
