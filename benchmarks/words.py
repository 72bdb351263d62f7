"""Which linear map of sentences tells actions apart, antonyms included? `python benchmarks/words.py`, text alone.

Chosen on the catalogue's own views, each left out in turn: the sentence left out is looked for among descriptions of
the other three, once with every action known to the map and once with a quarter of them unknown. `--paraphrases` then
adds, for every map, what nothing may be chosen by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
import numpy as np
import torch
import torch.nn.functional as F

from myosem_edge.actions.catalogue import VIEWS, load_catalogue
from myosem_edge.actions.paraphrases import load_paraphrase_table
from myosem_edge.actions.table import load_table
from myosem_edge.cli._output import json_option, print_json, table
from myosem_edge.learn.scoring.metrics import ranks
from myosem_edge.learn.teacher.model import DescriptionProjection, within_metric

SIZE = 32  # of one view in the shared space
UNKNOWN = 4  # every fourth action in turn is unknown to the map

Pairs = list[tuple[int, int]]  # rows of opposites
# Centred texts (actions, views, text), pairs among their rows -> matrices (views, size, text)
Map = Callable[[torch.Tensor, Pairs], torch.Tensor]


def identity(texts: torch.Tensor, pairs: Pairs) -> torch.Tensor:
    return torch.eye(texts.shape[-1]).expand(texts.shape[1], -1, -1)


def axes(whitening: float) -> Map:
    """What a projection starts from: the principal axes of each view, after whitening by how views differ."""

    def make(texts: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        return DescriptionProjection(texts, SIZE * texts.shape[1], whitening).matrix.detach()

    return make


def whitened(whitening: float) -> Map:
    """All 384 dimensions, whitened alone."""

    def make(texts: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        return within_metric(texts, whitening).expand(texts.shape[1], -1, -1)

    return make


def discriminant(whitening: float) -> Map:
    """Fisher's: the axes along which whitened action means differ most, the same for every view."""

    def make(texts: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        metric = within_metric(texts, whitening)
        means = (texts @ metric).mean(dim=1)
        found = torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[:SIZE]
        return (found @ metric).expand(texts.shape[1], -1, -1)

    return make


def tuned(start: Map, pull: float, hard: float, steps: int = 100) -> Map:
    """Contrastive tuning: each sentence against the descriptions of the other views, opposites weighing more in the
    denominator, pulled back to the start.
    """

    def make(texts: torch.Tensor, pairs: Pairs) -> torch.Tensor:
        first = start(texts, pairs).clone()
        matrix = torch.nn.Parameter(first.clone())
        optimiser = torch.optim.Adam([matrix], 1e-2)
        bias = torch.zeros(len(texts), len(texts))
        for a, b in pairs:
            bias[a, b] = bias[b, a] = hard
        truth = torch.arange(len(texts))
        for _ in range(steps):
            parts = F.normalize(torch.einsum("avt,vet->ave", texts, matrix), dim=-1)
            loss = pull * (matrix - first).square().sum() / first.square().sum()
            for view in range(texts.shape[1]):
                logits = parts[:, view] @ F.normalize(parts.sum(1) - parts[:, view], dim=-1).T / 0.1 + bias
                loss = loss + (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 8
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return matrix.detach()

    return make


MAPS: dict[str, Map] = {
    "centred, 384 dimensions": identity,
    "principal axes": axes(0.0),
    **{f"principal axes, whitened {w}": axes(w) for w in (0.1, 0.2, 0.3, 0.5)},
    **{f"384 dimensions, whitened {w}": whitened(w) for w in (0.2, 0.5, 0.8)},
    **{f"Fisher's axes, whitened {w}": discriminant(w) for w in (0.2, 0.5, 0.8)},
    "principal axes, tuned": tuned(axes(0.0), 10.0, 0.0),
    "principal axes, tuned against opposites": tuned(axes(0.0), 10.0, 2.0),
    "axes whitened 0.2, tuned against opposites": tuned(axes(0.2), 30.0, 2.0),
}


@click.command()
@click.option("--paraphrases", is_flag=True, help="Report on the paraphrases too: for the record, never for a choice.")
@json_option
def main(paraphrases: bool, as_json: bool) -> None:
    """Compare linear maps of sentences on the catalogue's own views."""
    torch.set_num_threads(1)
    catalogue, descriptions = load_catalogue(), load_table()
    ids = [a.id for a in catalogue.actions.values() if a.kind != "stage"]  # a script of gestures is no action
    texts = torch.from_numpy(descriptions.select(ids))
    pairs = [(ids.index(a), ids.index(b)) for a in ids if (b := catalogue[a].antonym)]
    rows = []
    for name, make in MAPS.items():
        row: dict[str, object] = {"map": name}
        for what, folds in (("known", 1), ("unknown", UNKNOWN)):
            row |= {f"{key}, {what}": value for key, value in _summary(_left_out(texts, pairs, make, folds)).items()}
        if paraphrases:
            said = torch.from_numpy(load_paraphrase_table().select(ids))
            matrix, mean = make(texts - texts.mean(0), pairs), texts.mean(dim=0)
            spoken = ((_cosines(texts, said[:, r], mean, matrix), np.arange(len(ids)), pairs) for r in range(5))
            row |= {f"{key}, paraphrases": value for key, value in _summary(spoken).items()}
        rows.append(row)
    if as_json:
        print_json(rows)
        return
    click.echo(table([[_shown(v) for v in row.values()] for row in rows], list(rows[0])))


Judged = tuple[np.ndarray, np.ndarray, Pairs]  # cosines (queries, actions), the true action of each query, opposites


def _left_out(texts: torch.Tensor, pairs: Pairs, make: Map, folds: int) -> Iterator[Judged]:
    for view in range(len(VIEWS)):
        others = [v for v in range(len(VIEWS)) if v != view]
        rest = texts[:, others]
        for fold in range(folds):
            judged = np.arange(fold, len(texts), folds)
            learnt = np.arange(len(texts)) if folds == 1 else np.setdiff1d(np.arange(len(texts)), judged)
            place = {int(row): k for k, row in enumerate(learnt)}
            mean = rest[learnt].mean(dim=0)
            known = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
            cosines = _cosines(rest, texts[judged, view], mean, make(rest[learnt] - mean, known))
            yield cosines, judged, pairs


def _cosines(texts: torch.Tensor, sentences: torch.Tensor, mean: torch.Tensor, matrix: torch.Tensor) -> np.ndarray:
    """Sentences in every view's place against descriptions: the mean cosine of the places."""
    gallery = F.normalize(torch.einsum("avt,vet->ave", texts - mean, matrix), dim=-1)
    query = F.normalize(torch.einsum("nt,vet->nve", sentences - mean.mean(dim=0), matrix), dim=-1)
    return np.asarray(torch.einsum("nve,ave->na", query, gallery).numpy() / texts.shape[1])


def _summary(judged: Iterator[Judged]) -> dict[str, float]:
    rank, nearer = [], []
    for cosines, truth, pairs in judged:
        rank.append(ranks(cosines, truth))
        row = {int(a): k for k, a in enumerate(truth)}
        nearer += [cosines[row[a], a] > cosines[row[a], b] for a, b in pairs if a in row]
    r = np.concatenate(rank)
    return {
        "R@1": 100 * float(np.mean(r == 1)),
        "R@5": 100 * float(np.mean(r <= 5)),
        "MRR": 100 * float(np.mean(1 / r)),
        "over antonym": 100 * float(np.mean(nearer)),
    }


def _shown(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
