"""The student: smaller, the teacher's own front, and it learns what the teacher says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.export.distil import SIZES, DistilConfig, _inherit, distil, student_config
from myosem_edge.learn.teacher.batches import AugmentConfig
from myosem_edge.learn.teacher.checkpoint import Trained
from myosem_edge.learn.teacher.model import Encoder, ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, train
from tests.learn.conftest import made_up_session

CONFIG = DistilConfig(
    size="15k", steps=25, episodes=2, ways=4, augment=AugmentConfig(ring_jitter=0, mixing=0.0, noise=0.0)
)


def sessions() -> list:
    return [made_up_session(seed, subject=f"s{seed}") for seed in range(2)]


@pytest.fixture(scope="module")
def small_teacher() -> Trained:
    torch.set_num_threads(1)
    config = TrainConfig(model=ModelConfig(width=64, mixtures=12, filters=3), steps=20, episodes=2, ways=4, queries=1)
    return train(config, sessions(), load_catalogue(), load_table(), family="shipped", provenance={})


def test_the_student_learns(small_teacher: Trained) -> None:
    cosines: list[float] = []
    distil(small_teacher, sessions(), load_table(), CONFIG, lambda step, numbers: cosines.append(numbers["cosine"]))
    assert len(cosines) == CONFIG.steps
    apart_first, apart_last = 1 - np.mean(cosines[:3]), 1 - np.mean(cosines[-5:])
    assert apart_last < 0.5 * apart_first


def test_a_student_as_large_as_its_teacher_is_the_teacher() -> None:
    torch.set_num_threads(1)
    config = TrainConfig(model=ModelConfig(width=SIZES["15k"]), steps=1, episodes=2, ways=4, queries=1)
    teacher = train(config, sessions(), load_catalogue(), load_table(), family="shipped", provenance={})
    steps: list[int] = []
    student = distil(teacher, sessions(), load_table(), CONFIG, lambda step, numbers: steps.append(step))
    assert student is teacher and steps == []


def test_the_same_seed_is_the_same_student_and_leaves_the_teacher_alone(small_teacher: Trained) -> None:
    before = {name: value.clone() for name, value in small_teacher.encoder.state_dict().items()}
    short = replace(CONFIG, steps=3)
    a, b = (distil(small_teacher, sessions(), load_table(), short) for _ in range(2))
    other = distil(small_teacher, sessions(), load_table(), replace(short, seed=1))
    assert all(torch.equal(v, b.encoder.state_dict()[name]) for name, v in a.encoder.state_dict().items())
    assert not torch.equal(a.encoder.project.weight, other.encoder.project.weight)
    assert all(torch.equal(v, before[name]) for name, v in small_teacher.encoder.state_dict().items())


def test_descriptions_stay_where_the_teacher_put_them(small_teacher: Trained) -> None:
    """A bundle holds the teacher's prototypes: student embeddings must be weighed by the same views."""
    student = distil(small_teacher, sessions(), load_table(), replace(CONFIG, steps=2))
    assert torch.equal(student.encoder.view_weights, small_teacher.encoder.view_weights)
    assert torch.equal(student.prototypes(load_table()), small_teacher.prototypes(load_table()))
    assert not student.encoder.training


def test_the_student_starts_from_the_teachers_front(small_teacher: Trained) -> None:
    still = replace(CONFIG, steps=1, learning_rate=0.0)
    student = distil(small_teacher, sessions(), load_table(), still)
    x = torch.randn(1, 8, 200)
    with torch.no_grad():
        ours, theirs = student.encoder.front.log_powers(x), small_teacher.encoder.front.log_powers(x)
    assert torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize(("size", "parameters"), [("15k", 15_000), ("50k", 50_000), ("120k", 120_000)])
def test_a_size_is_what_its_name_says(size: str, parameters: int) -> None:
    config = student_config(ModelConfig(), size)
    assert config.width == SIZES[size] and not config.semantic_queries and config.smooth_frames == 1
    assert (config.channels, config.embedding, config.taps) == (8, 128, 9)
    found = sum(p.numel() for p in Encoder(config).parameters())
    assert 0.7 * parameters < found < 1.3 * parameters


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(InputError, match=r"'16k' is not a student size .expected teacher, 15k, 50k, 120k"):
        student_config(ModelConfig(), "16k")


def test_a_student_as_wide_as_its_teacher_starts_with_its_trunk() -> None:
    torch.manual_seed(0)
    teacher = Encoder(ModelConfig(width=48, mixtures=12, filters=3))
    same, other = (Encoder(student_config(teacher.config, size)) for size in ("15k", "50k"))  # 48 and 96 wide
    for student in (same, other):
        _inherit(student, teacher)
        assert torch.equal(student.front.filters, teacher.front.filters)
        assert torch.equal(student.view_weights, teacher.view_weights)
        assert not student.view_weights.requires_grad
    assert torch.equal(same.state_dict()["blocks.2.mix.weight"], teacher.state_dict()["blocks.2.mix.weight"])
    assert other.state_dict()["blocks.2.mix.weight"].shape != teacher.state_dict()["blocks.2.mix.weight"].shape
