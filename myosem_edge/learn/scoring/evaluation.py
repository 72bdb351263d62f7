"""What an evaluation measured, as data: written to JSON whole and read back the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from myosem_edge.learn.corpus.splits import Split
from myosem_edge.learn.scoring.landscape import Landscape

People = dict[str, float]


@dataclass
class Retrieval:
    """One gallery of one data set. values[placement][retriever][unit][metric][person], in percent.

    confusion[placement] (judged, gallery): percent of a true action's hops that went to a description, mean over
    people. `merged` is the number of semantic groups, or 0 where none of the gallery's actions share one.
    """

    dataset: str
    question: str
    gallery: tuple[str, ...]
    people: tuple[str, ...]
    judged: tuple[str, ...]
    merged: int = 0
    group_chance: float = 0.0
    values: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)
    confusion: dict[str, list[list[float]]] = field(default_factory=dict)

    @property
    def chance(self) -> float:
        return 100.0 / len(self.gallery)


@dataclass
class Evaluation:
    """Everything `evaluate` measured. few_shot, days: [dataset][...][unit][head][person]; transitions:
    [dataset][head][person], counts as in `scoring.transitions.Tally`; reliability, landscape by data set.
    """

    split: Split
    trained_people: int
    retrieval: list[Retrieval] = field(default_factory=list)
    few_shot: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)
    days: dict[str, dict[str, dict[str, dict[str, People]]]] = field(default_factory=dict)
    transitions: dict[str, dict[str, dict[str, dict[str, Any]]]] = field(default_factory=dict)
    temperature: float = 1.0
    reliability: dict[str, dict[str, list[tuple[float, float, float]]]] = field(default_factory=dict)
    landscape: dict[str, Landscape] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "split": self.split.to_dict(),
            "retrieval": [{**vars(r), "chance": r.chance} for r in self.retrieval],
            "landscape": {name: vars(each) for name, each in self.landscape.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Raises:
        KeyError, TypeError, ValueError: these are not the values of an evaluation.
        """
        retrieval = []
        for row in values["retrieval"]:
            row = {name: value for name, value in row.items() if name != "chance"}
            retrieval.append(Retrieval(**{**row, **{k: tuple(row[k]) for k in ("gallery", "people", "judged")}}))
        landscape = {name: Landscape(**each) for name, each in values["landscape"].items()}
        split = Split(**values["split"])
        return cls(**{**values, "split": split, "retrieval": retrieval, "landscape": landscape})
