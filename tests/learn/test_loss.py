"""What the losses reward."""

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch
import torch.nn.functional as F

from myosem_edge.learn.teacher.loss import EpisodicRidge, contrastive_loss


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_right_matches_cost_less_than_wrong_ones():
    prototypes = torch.eye(4)
    labels = torch.tensor([0, 1, 2, 3, 0])
    scale = torch.tensor(10.0)
    right = contrastive_loss(prototypes[labels], labels, prototypes, scale)
    wrong = contrastive_loss(prototypes[(labels + 1) % 4], labels, prototypes, scale)
    assert right < 0.5 * wrong


def test_two_recordings_of_one_action_are_not_negatives_of_each_other():
    """With one positive per description, a second recording that matches as well would have to cost something."""
    prototypes, scale = torch.eye(4), torch.tensor(10.0)
    labels = torch.tensor([0, 0, 1])
    both = contrastive_loss(prototypes[labels], labels, prototypes, scale, text_to_emg=1.0)
    for elsewhere in (2, 3):
        z = prototypes[torch.tensor([0, elsewhere, 1])]
        assert both < contrastive_loss(z, labels, prototypes, scale, text_to_emg=1.0)


def test_episodic_ridge_solves_a_separable_episode_and_says_so():
    means = 6 * unit(5, 16)
    labels = torch.arange(5).repeat_interleave(6)[None]
    support = means[labels] + 0.1 * unit(30, 16, seed=2)[None]
    query = means[labels] + 0.1 * unit(30, 16, seed=3)[None]
    ridge = EpisodicRidge()
    good = ridge(support, labels, query, labels, 5)
    bad = ridge(support, labels, query, (labels + 1) % 5, 5)
    assert good < 0.6 < bad


def test_episodic_loss_does_not_depend_on_the_scale_of_the_features():
    labels = torch.arange(3).repeat_interleave(4)[None]
    support, query = unit(1, 12, 8), unit(1, 12, 8, seed=5)
    ridge = EpisodicRidge()
    one, ten = ridge(support, labels, query, labels, 3), ridge(10 * support, labels, 10 * query, labels, 3)
    assert torch.allclose(one, ten, atol=1e-3)
