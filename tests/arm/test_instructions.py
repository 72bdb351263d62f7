"""A hop takes no more instructions than its budget, on the core of a Raspberry Pi 4.

Counts depend on neither machine nor load: these are the figures of docs/results/instructions.md themselves.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from myosem_edge.bench.instructions import BUDGETS, GOAL_BOARD, GOALS, Found, count, over_budget
from myosem_edge.boards.counter import find_counter
from myosem_edge.boards.sysroot import TARGETS, cache_folder, prepare
from myosem_edge.bundle import bundle_from
from myosem_edge.errors import InputError
from tests.conftest import trusting

COUNTED = ("onnxruntime", "litert")  # what a board runs; the reference is there to be read

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Found:
    try:
        counter, sysroot = find_counter(cache_folder()), prepare(TARGETS["aarch64"], cache_folder())
    except InputError as error:
        pytest.skip(str(error))
    path: Path = request.getfixturevalue("shipped_size")  # only now: making it takes some seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYOSEM_HOME", str(trusting(tmp_path_factory.mktemp("user"))))
        return count(counter, sysroot, bundle_from(path), path, [GOAL_BOARD], COUNTED, tuple(GOALS))


def test_no_part_takes_more_than_its_budget(found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\n" + "; ".join(f"{backend}, {part}: {value:.0f}" for (_, backend, part), value in found.items()))
    assert {(backend, part) for _, backend, part in found} == {(backend, part) for backend in COUNTED for part in GOALS}
    assert over_budget(found) == []


def test_a_budget_follows_what_is_measured(found: Found) -> None:
    """One that has become far too large would let everything pass: then page and budget are to be made anew."""
    slack = {key[1:]: BUDGETS[key[1:]] / value for key, value in found.items()}
    assert all(ratio < 1.3 for ratio in slack.values()), slack
