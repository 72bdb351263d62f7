"""Which rounding hurts: every rounding place of the body alone, and all of them together, on real EMG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from myosem_edge.quantize.fake_body import FakeBody

EVERYTHING = "everything"


@dataclass(frozen=True)
class Harm:
    """What rounding at one place does, over all hops: 1 - cosine of h and of z to the exact ones, and the share of hops
    whose nearest description is another one, in percent.
    """

    place: str
    h_apart: float
    z_apart: float
    changed_percent: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def sensitivity(body: FakeBody, features: Sequence[Tensor], prototypes: Tensor, view_scale: Tensor) -> list[Harm]:
    """In the order of the signal, everything last; prototypes (n, embedding), view_scale (views, 1) as the matcher has.

    `features` are those of people on whom no range was measured.
    """
    exact = [_outputs(body, each, (), prototypes, view_scale) for each in features]
    harms = []
    for name, rounded in (*((place, (place,)) for place in body.places), (EVERYTHING, body.places)):
        parts = zip(features, exact, strict=True)
        harms.append(_harm(name, [(_outputs(body, x, rounded, prototypes, view_scale), e) for x, e in parts]))
    return harms


Outputs = tuple[Tensor, Tensor, Tensor]  # h, unit z, nearest description of every hop


def _outputs(body: FakeBody, x: Tensor, rounded: Sequence[str], prototypes: Tensor, view_scale: Tensor) -> Outputs:
    h, z = body(x, rounded)
    views = F.normalize(z.unflatten(-1, (len(view_scale), -1)), dim=-1) * view_scale
    z = views.flatten(-2).flatten(0, 1)
    return h.flatten(0, 1), z, (z @ prototypes.T).argmax(dim=1)


def _harm(place: str, pairs: Iterable[tuple[Outputs, Outputs]]) -> Harm:
    columns: list[list[Tensor]] = [[], [], []]
    for (h, z, nearest), (exact_h, exact_z, exact_nearest) in pairs:
        columns[0].append(1 - F.cosine_similarity(h, exact_h, dim=1))
        columns[1].append(1 - F.cosine_similarity(z, exact_z, dim=1))
        columns[2].append((nearest != exact_nearest).float())
    h_apart, z_apart, changed = (float(torch.cat(column).mean()) for column in columns)
    return Harm(place, max(h_apart, 0.0), max(z_apart, 0.0), 100 * changed)
