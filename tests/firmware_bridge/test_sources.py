"""Where emulated devices get their EMG: played as recorded, to the last bit."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.clock import VirtualClock
from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.emulators.sources import ArraySource, Played, WearerSource

REST = [np.full((5, 2), 0.25), np.full((3, 2), 0.5)]


def clip(value: float, n: int = 4) -> np.ndarray:
    return np.full((n, 2), value)


def first_column(samples: np.ndarray) -> list[float]:
    return [float(value) for value in samples[:, 0]]


@given(reads=st.lists(st.integers(0, 25), max_size=20), loop=st.booleans())
def test_array_is_played_in_order_in_any_portions(reads: list[int], loop: bool) -> None:
    emg = np.arange(1, 21, dtype=np.int8).reshape(10, 2)
    source = ArraySource(emg, 100.0, loop=loop)
    parts = [source.read(n) for n in reads]
    assert [part.shape for part in parts] == [(n, 2) for n in reads]
    total = sum(reads)
    expected = (
        np.tile(emg, (total // 10 + 1, 1))[:total] if loop else np.concatenate([emg, np.zeros((total, 2))])[:total]
    )
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2)), *parts]), expected)
    assert source.finished == (not loop and total >= 10)


def test_source_says_what_it_plays() -> None:
    source = ArraySource(np.zeros((4, 8)), 200.0)
    assert (source.channels, source.rate_hz, source.finished) == (8, 200.0, False)


@pytest.mark.parametrize(
    ("emg", "reason"),
    [
        (np.zeros((0, 8)), "is empty"),
        (np.zeros((8, 0)), "is empty"),
        (np.zeros(8), "is not EMG"),
        (np.zeros((2, 2, 2)), "is not EMG"),
        (np.array([["a"]]), "is not EMG"),
        (np.array([[1j]]), "is not EMG"),
        (np.array([[0.0, 1.0], [2.0, np.nan]]), "nan at sample 1, channel 1"),
        (np.array([[0.0, -np.inf]]), "-inf at sample 0, channel 1"),
    ],
)
def test_what_cannot_be_played_is_refused(emg: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        ArraySource(emg, 200.0)


def test_wearer_rests_in_turn_performs_when_told_and_rests_again() -> None:
    clock = VirtualClock(10.0)
    wearer = WearerSource(REST, 100.0, clock)
    assert first_column(wearer.read(9)) == [0.25] * 5 + [0.5] * 3 + [0.25]
    wearer.perform(clip(7), "fist")
    assert wearer.performing
    clock.advance(1.0)
    assert first_column(wearer.read(3)) == [7, 7, 7]
    clock.advance(1.0)
    assert first_column(wearer.read(6)) == [7, 0.25, 0.25, 0.25, 0.25, 0.5]  # rest goes on where it was left
    assert not wearer.performing
    assert wearer.log == (Played(0, 10.0, "rest"), Played(9, 11.0, "fist"), Played(13, 12.0, "rest"))


def test_actions_wait_for_one_another() -> None:
    wearer = WearerSource(REST, 100.0, VirtualClock(0.0))
    wearer.perform(clip(1), "open")
    wearer.perform(clip(2), "fist")
    assert first_column(wearer.read(10)) == [1] * 4 + [2] * 4 + [0.25] * 2
    assert [(entry.sample, entry.label) for entry in wearer.log] == [(0, "open"), (4, "fist"), (8, "rest")]


def test_wearer_told_to_rest_forgets_what_was_asked() -> None:
    wearer = WearerSource(REST, 100.0, VirtualClock(0.0))
    wearer.perform(clip(1), "open")
    wearer.perform(clip(2), "fist")
    wearer.read(2)
    wearer.rest()
    assert first_column(wearer.read(2)) == [0.25, 0.25]
    assert not wearer.performing


def test_samples_are_played_to_the_last_bit() -> None:
    recorded = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    wearer = WearerSource(REST, 100.0, VirtualClock())
    wearer.perform(recorded)
    played = np.concatenate([wearer.read(n) for n in (1, 7, 13, 29)])
    assert played.tobytes() == recorded.tobytes()


def test_clip_is_a_copy_of_what_was_given() -> None:
    mine = clip(3.0)
    wearer = WearerSource(REST, 100.0, VirtualClock())
    wearer.perform(mine)
    mine[:] = 9.0
    assert first_column(wearer.read(4)) == [3.0] * 4


def test_clips_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least one resting clip"):
        WearerSource([], 100.0)
    with pytest.raises(InputError, match="resting clip 1 does not fit"):
        WearerSource([np.zeros((3, 2)), np.zeros((3, 4))], 100.0)
    wearer = WearerSource(REST, 100.0)
    with pytest.raises(InputError, match=r"clip 'fist' does not fit this wearer .found 3 channels, expected 2"):
        wearer.perform(np.zeros((4, 3)), "fist")
    with pytest.raises(InputError, match="clip 'fist' is empty"):
        wearer.perform(np.zeros((0, 2)), "fist")
    assert not wearer.performing


def test_every_clip_is_played_whole_while_threads_ask_at_once() -> None:
    wearer = WearerSource([np.zeros((3, 1))], 100.0)
    clips = 40

    def ask(first: int) -> None:
        for number in range(first, clips, 4):
            wearer.perform(np.full((5, 1), number + 1), str(number))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    parts = []
    while any(thread.is_alive() for thread in threads) or wearer.performing:
        parts.append(wearer.read(3))
    played = np.concatenate([*parts, wearer.read(5)])[:, 0]
    entries = [entry for entry in wearer.log if entry.label != "rest"]
    assert sorted(int(entry.label) for entry in entries) == list(range(clips))
    for entry in entries:
        assert played[entry.sample : entry.sample + 5].tolist() == [int(entry.label) + 1] * 5
    assert np.count_nonzero(played) == 5 * clips
