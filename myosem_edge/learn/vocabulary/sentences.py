"""What the space of descriptions does with sentences alone, before any EMG: nearest action, antonyms, placement.

The unit of every mean here is the action (each with its five paraphrases), not a person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from myosem_edge.actions.catalogue import VIEWS, Catalogue
from myosem_edge.actions.paraphrases import REGISTERS, ParaphraseTable
from myosem_edge.actions.table import DescriptionTable
from myosem_edge.learn.scoring.metrics import ranks
from myosem_edge.learn.teacher.checkpoint import Trained

Similarity = Callable[[np.ndarray], np.ndarray]  # raw sentences (n, text) -> similarity (n, catalogue)


@dataclass(frozen=True)
class TextRetrieval:
    """Paraphrases as queries in one gallery of descriptions.

    values[method][metric][action] and registers[register][metric], in percent; the registers are of "projected".
    """

    gallery: str
    size: int
    queries: int
    values: dict[str, dict[str, dict[str, float]]]
    registers: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AntonymPair:
    """Cosines of two opposite actions: of their raw texts and their centred ones (mean over the views), and of their
    prototypes. `trained` counts those of the two that were trained on.
    """

    actions: tuple[str, str]
    trained: int
    raw: float
    centred: float
    projected: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SynonymGroup:
    """Mean cosine of two different actions of one semantic group, as for `AntonymPair`."""

    group: str
    actions: tuple[str, ...]
    raw: float
    centred: float
    projected: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def text_retrieval(
    trained: Trained,
    catalogue: Catalogue,
    table: DescriptionTable,
    paraphrases: ParaphraseTable,
    seen: Collection[str],
) -> list[TextRetrieval]:
    """Every paraphrase among the trained actions, among the whole catalogue, and those of trained actions there."""
    trained_on = [action for action in paraphrases.ids if action in seen]
    everything = list(table.ids)
    galleries = {
        "trained actions": (trained_on, trained_on),
        "whole catalogue, paraphrases of trained actions": (everything, trained_on),
        "whole catalogue": (everything, list(paraphrases.ids)),
    }
    return [
        _retrieve(name, gallery, queries, _similarities(trained, table), catalogue, table, paraphrases)
        for name, (gallery, queries) in galleries.items()
        if len(gallery) > 1
    ]


def antonym_pairs(
    trained: Trained, catalogue: Catalogue, table: DescriptionTable, seen: Collection[str]
) -> list[AntonymPair]:
    """Every pair of antonyms of the catalogue, in its order."""
    cosines = _cosines(trained, table)
    row = {action: k for k, action in enumerate(table.ids)}
    return [
        AntonymPair(
            (action.id, action.antonym),
            len({action.id, action.antonym} & {*seen}),
            *(float(c[row[action.id], row[action.antonym]]) for c in cosines),
        )
        for action in catalogue.actions.values()
        if action.antonym and row[action.id] < row[action.antonym]
    ]


def synonym_groups(trained: Trained, catalogue: Catalogue, table: DescriptionTable) -> list[SynonymGroup]:
    """Every group of the catalogue with at least two actions, in its order."""
    cosines = _cosines(trained, table)
    groups = []
    for group in catalogue.groups:
        actions = tuple(action.id for action in catalogue.actions.values() if action.group == group)
        rows = [table.ids.index(action) for action in actions]
        if len(rows) > 1:
            apart = np.triu_indices(len(rows), 1)
            groups.append(SynonymGroup(group, actions, *(float(c[np.ix_(rows, rows)][apart].mean()) for c in cosines)))
    return groups


def _cosines(trained: Trained, table: DescriptionTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every two actions: raw texts, centred ones (both mean over the views), prototypes. Each (actions, actions)."""
    prototypes = trained.prototypes(table).numpy()
    centred = _unit(table.vectors - trained.text_mean.numpy())
    raw, middle = (np.einsum("avt,bvt->ab", v, v) / v.shape[1] for v in (table.vectors, centred))
    return raw, middle, prototypes @ prototypes.T


def placements(trained: Trained, table: DescriptionTable) -> dict[str, dict[str, float]]:
    """Ways to give one sentence all the places that the views have, measured without a paraphrase.

    Each view in turn is the free sentence: it is taken out of every description, put in the places of the other
    three, and looked for in the whole catalogue. R@1, R@5, MRR in percent, mean over actions and views.
    """
    sentences = torch.from_numpy(table.vectors)
    mean, matrix = trained.text_mean, trained.projection.matrix.detach()
    weights = torch.softmax(trained.encoder.view_weights.detach(), dim=0)
    truth = np.arange(len(table.ids))
    found: dict[str, list[np.ndarray]] = {}
    for view in range(len(VIEWS)):
        others = [v for v in range(len(VIEWS)) if v != view]
        scale = weights[others].sqrt()[:, None]
        gallery = F.normalize(torch.einsum("avt,vet->ave", sentences[:, others] - mean[others], matrix[others]), dim=-1)
        free = sentences[:, view]
        for name, centre in (("each view's own mean", mean[others]), ("the mean of the views' means", mean.mean(0))):
            query = F.normalize(torch.einsum("avt,vet->ave", free[:, None] - centre, matrix[others]), dim=-1)
            cosines = torch.einsum("ave,bve->ab", query * scale, gallery * scale)
            found.setdefault(f"every view, {name}", []).append(ranks(cosines.numpy(), truth))
        nearest = (F.normalize(free, dim=-1) @ F.normalize(mean[others], dim=-1).T).argmax(1)
        query = F.normalize(torch.einsum("at,aet->ae", free - mean[others][nearest], matrix[others][nearest]), dim=-1)
        cosines = torch.einsum("ae,bae->ab", query, gallery[:, nearest])
        found.setdefault("the view whose texts are nearest", []).append(ranks(cosines.numpy(), truth))
    return {
        name: {
            "R@1": 100 * float(np.mean(r == 1)),
            "R@5": 100 * float(np.mean(r <= 5)),
            "MRR": 100 * float(np.mean(1 / r)),
        }
        for name, r in ((name, np.concatenate(every)) for name, every in found.items())
    }


def _similarities(trained: Trained, table: DescriptionTable) -> dict[str, Similarity]:
    raw, mean = table.vectors, trained.text_mean.numpy()
    centred, prototypes = _unit(raw - mean), trained.prototypes(table).numpy()

    def projected(sentences: np.ndarray) -> np.ndarray:
        return np.asarray(trained.place(torch.from_numpy(sentences)).numpy() @ prototypes.T)

    return {
        "raw, mean of the views": lambda s: np.einsum("nt,avt->na", s, raw) / raw.shape[1],
        "raw, nearest view": lambda s: np.einsum("nt,avt->nav", s, raw).max(axis=2),
        "centred": lambda s: np.einsum("nt,avt->na", _unit(s - mean.mean(axis=0)), centred) / raw.shape[1],
        "projected": projected,
    }


def _retrieve(
    name: str,
    gallery: list[str],
    queries: list[str],
    similarities: dict[str, Similarity],
    catalogue: Catalogue,
    table: DescriptionTable,
    paraphrases: ParaphraseTable,
) -> TextRetrieval:
    columns = [table.ids.index(action) for action in gallery]
    own = np.array([gallery.index(action) for action in queries])
    sentences = paraphrases.select(queries)  # (queries, registers, text)
    values: dict[str, dict[str, dict[str, float]]] = {}
    registers: dict[str, dict[str, float]] = {}
    for method, similarity in similarities.items():
        scores = similarity(sentences.reshape(-1, sentences.shape[-1]))[:, columns]
        truth = np.repeat(own, len(REGISTERS))
        rank = ranks(scores, truth).reshape(len(queries), -1)
        first = scores.argmax(axis=1).reshape(len(queries), -1)
        by_action: dict[str, dict[str, float]] = {m: {} for m in ("R@1", "R@5", "MRR", "R@1 of the group")}
        by_action["nearer than its antonym"] = {}
        by_query = scores.reshape(len(queries), len(REGISTERS), -1)
        for k, action in enumerate(queries):
            near = [gallery.index(a) for a in (action, *catalogue.neighbours(action)) if a in gallery]
            by_action["R@1"][action] = 100 * float(np.mean(rank[k] == 1))
            by_action["R@5"][action] = 100 * float(np.mean(rank[k] <= 5))
            by_action["MRR"][action] = 100 * float(np.mean(1 / rank[k]))
            by_action["R@1 of the group"][action] = 100 * float(np.isin(first[k], near).mean())
            antonym = catalogue[action].antonym
            if antonym in gallery:
                nearer = by_query[k, :, own[k]] > by_query[k, :, gallery.index(antonym)]
                by_action["nearer than its antonym"][action] = 100 * float(nearer.mean())
        values[method] = by_action
        if method == "projected":
            for r, register in enumerate(REGISTERS):
                registers[register] = {
                    "R@1": 100 * float(np.mean(rank[:, r] == 1)),
                    "R@5": 100 * float(np.mean(rank[:, r] <= 5)),
                }
    return TextRetrieval(name, len(gallery), len(queries), values, registers)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
