"""Judging on other montages: the figures as ever where nothing changed, electrodes where they are said to be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.montages import virtual
from myosem_edge.learn.montages.measurement import (
    Judge,
    Way,
    blocks,
    encode_of,
    find_way,
    grid_montages,
    grid_sessions,
    judge_montages,
    on_ring,
    ring_montages,
    settled,
    unseen_people,
)
from myosem_edge.learn.report.document import markdown
from myosem_edge.learn.scoring.embed import torch_encode
from myosem_edge.learn.scoring.fewshot import HEAD, few_shot
from myosem_edge.learn.teacher.batches import AugmentConfig
from myosem_edge.learn.teacher.model import ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, train
from myosem_edge.signal.montage import RecordedMontage, electrode_positions
from tests.learn.conftest import made_up_session

CATALOGUE = load_catalogue()
CONFIG = TrainConfig(
    model=ModelConfig(width=32, mixtures=12, filters=3, semantic_queries=False),
    steps=60,
    episodes=3,
    ways=4,
    queries=1,
    augment=AugmentConfig(ring_jitter=0, gain_sigma=0.1, mixing=0.0),
)


@pytest.fixture(scope="module", params=["electrodes", "harmonic"])
def trained(request):
    config = replace(
        CONFIG,
        model=replace(CONFIG.model, spatial=request.param),
        augment=replace(CONFIG.augment, subset=0.3 if request.param == "harmonic" else 0.0),
    )
    people = {"made_up": [f"s{seed}" for seed in range(3)]}
    sessions = [made_up_session(seed, subject=f"s{seed}") for seed in range(3)]
    provenance = {"people": people}
    torch.set_num_threads(1)
    return train(config, sessions, CATALOGUE, load_table(), family="research", provenance=provenance)


@pytest.fixture(scope="module")
def new():
    return [made_up_session(90 + n, subject=f"n{n}", repetitions=5) for n in range(2)]


@pytest.fixture
def judge(trained):
    return Judge(trained, CATALOGUE, load_table())


def test_on_its_own_ring_the_figures_are_those_of_the_evaluation(trained, judge, new):
    row = judge.row("made_up", "as it is", new)
    usual = few_shot(new, trained, torch_encode(trained), CATALOGUE.ids, judge.prototypes, ("1 s", "1"))
    for budget in ("1 s", "1"):
        for head in (HEAD, "log-feature LDA"):
            assert row.calibrated[budget][head] == pytest.approx(usual[budget]["window"][head], abs=1.0)
    assert min(row.zero_shot.values()) > 60  # chance is 25


@pytest.mark.parametrize("shift", [0, 3, 6])
def test_the_rotation_is_that_of_the_ring(trained, shift):
    session = made_up_session(50, shift=shift)
    found = find_way(session, trained, CATALOGUE.ids, {1}, mirrored=False)
    assert found == Way(shift / 8)
    encode, _ = encode_of(trained, session, found, {1})
    x = session.clips[5].x / session.scale
    ours, theirs = encode(x.astype(np.float32)), torch_encode(trained)(np.roll(x, -shift, axis=1).astype(np.float32))
    assert np.allclose(ours[0], theirs[0], atol=1e-3) and np.allclose(ours[1], theirs[1], atol=1e-3)


@pytest.mark.parametrize("shift", [0, 3])
def test_a_rotation_is_found_without_all_electrodes_and_backwards(trained, shift):
    session = made_up_session(50, shift=shift)
    fewer = virtual.subset(session, (0, 1, 2, 4, 5, 6))
    assert find_way(fewer, trained, CATALOGUE.ids, {1}, mirrored=False) == Way(shift / 8)
    # Pairs of electrodes are lit: backwards, the same pattern lies one electrode further on, and both fit.
    backwards = replace(session, clips=[replace(c, x=c.x[:, ::-1]) for c in session.clips], scale=session.scale[::-1])
    way = find_way(backwards, trained, CATALOGUE.ids, {1}, mirrored=True)
    forwards = find_way(session, trained, CATALOGUE.ids, {1}, mirrored=False)
    places = way.on_ring(electrode_positions(backwards.montage))[::-1, 0]
    assert np.allclose((places - forwards.on_ring(electrode_positions(session.montage))[:, 0]) % 1.0 % 1.0, 0)


def test_electrodes_by_number_fall_back_to_zeros_or_to_interpolation():
    session = made_up_session()
    matrix, how = on_ring(virtual.subset(session, (1, 4)), Way(1 / 8), 8)
    assert how == "missing ones zero" and np.argwhere(matrix).tolist() == [[0, 0], [3, 1]]
    matrix, how = on_ring(virtual.every(session, 2), Way(), 8)
    assert how == "interpolated" and np.allclose(matrix[::2], np.eye(4))
    mirrored, _ = on_ring(virtual.ring_of(session, 16), Way(0.25, mirrored=True), 8)
    assert mirrored.argmax(axis=1).tolist() == [(-4 - 2 * k) % 16 for k in range(8)]
    odd = RecordedMontage("x", 4, "sites", 200.0, "uV", "", positions=((0.1, 0), (0.3, 0), (0.6, 0), (0.8, 0)))
    with pytest.raises(InputError, match="not on the model's ring"):
        on_ring(made_up_session(montage=odd), Way(), 8)


def test_an_interpolated_ring_is_as_loud_as_a_ring(trained):
    session = virtual.ring_of(made_up_session(), 4)
    if trained.encoder.config.spatial == "harmonic":  # places need none
        assert encode_of(trained, session, Way(), None)[1] == "by place"
        return
    seen = []
    original = trained.encoder.forward
    trained.encoder.forward = lambda x, *more: seen.append(x) or original(x, *more)
    try:
        encode, how = encode_of(trained, session, Way(), None)
        for clip in session.clips:
            encode(session.canonical(clip))
    finally:
        del trained.encoder.forward
    rms = np.sqrt(np.mean([x[0].square().mean(dim=1).numpy() for x in seen], axis=0))
    assert how == "interpolated" and np.allclose(rms, 1.0, atol=0.15)


def test_settled_templates_are_those_of_the_places(trained):
    if trained.encoder.config.spatial == "electrodes":
        with pytest.raises(InputError, match="by their number"):
            settled(trained, electrode_positions(made_up_session().montage))
        return
    two = settled(trained, np.array([[0.0, 0.0], [0.25, 0.0], [0.5, 0.0], [0.75, 0.0]]))
    assert two.encoder.config.channels == 4
    for action, row in trained.ring_templates.items():
        assert np.allclose(two.ring_templates[action], row[::2], atol=1e-5)


def test_every_montage_has_its_line(trained, judge, new):
    grid = [
        made_up_session(
            70 + n,
            subject="g0",
            name=str(n),
            dataset="grid",
            repetitions=3,
            montage=RecordedMontage("grid", 64, "ring", 200.0, "uV", "", rings=4),
        )
        for n in range(2)
    ]
    rows = judge_montages(judge, new, grid)
    assert [row.montage for row in rows] == [*ring_montages(new), *grid_montages(grid)]
    assert [row.electrodes for row in rows] == [8, 6, 4, 7, 8, 8, 4, 8, 16]
    for row in rows:
        assert set(row.calibrated) == {"1 s", "1"} and set(row.zero_shot) == set(row.turned)
        assert set(row.calibrated["1"][HEAD]) == {
            f"{row.dataset}/{who}" for who in (("n0", "n1") if row.dataset == "made_up" else ("g0",))
        }
    json.dumps([row.to_dict() for row in rows], allow_nan=False)
    page = markdown(blocks(trained, rows))
    assert page.count("| made_up |") == 6 and page.count("| grid |") == 3
    by_place = trained.encoder.config.spatial == "harmonic"
    assert ("by place" in page) == by_place and ("missing ones zero" in page) != by_place


def test_a_later_session_is_judged_with_the_first_ones_calibration(judge):
    """The second session is louder by two: with a scale of its own nobody would notice."""
    first = made_up_session(1, subject="p", name="1", repetitions=3)
    loud = virtual.gained(made_up_session(2, subject="p", name="2", repetitions=1), np.full(8, 1e6))
    together = judge.row("made_up", "x", [loud, replace(first)], days=True)
    alone = judge.row("made_up", "x", [first], days=True)
    assert together.calibrated["1"][HEAD]["made_up/p"] < alone.calibrated["1"][HEAD]["made_up/p"]


def test_only_unseen_people_are_judged(trained):
    sessions = [made_up_session(seed, subject=f"s{seed}", dataset="myo_readings8") for seed in range(6)]
    split = Split("research", "user", 0)
    assert [s.subject for s in unseen_people(trained, split, sessions, CATALOGUE)] == ["s0", "s3"]
    seen = replace(trained, provenance={"people": {"myo_readings8": ["s3"]}})
    with pytest.raises(InputError, match=r"found myo_readings8/s3"):
        unseen_people(seen, split, sessions, CATALOGUE)
    with pytest.raises(InputError, match=r"nobody .split repetition"):
        unseen_people(trained, Split("research", "repetition"), sessions, CATALOGUE)


def test_somebody_must_be_left_to_judge(judge):
    with pytest.raises(InputError, match="nobody is left"):
        judge_montages(judge, [], [])


def test_envelopes_are_not_compared_with_a_grid_of_raw_signal(tmp_path):
    (tmp_path / "flexemg64").mkdir()
    envelopes = RecordedMontage("e", 8, "ring", 200.0, "V", "", envelope=True)
    assert grid_sessions(tmp_path, [made_up_session(montage=envelopes)], CATALOGUE) == []
    assert grid_sessions(tmp_path / "elsewhere", [made_up_session()], CATALOGUE) == []
