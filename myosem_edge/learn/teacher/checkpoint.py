"""A trained model as one safetensors file: weights, description projection, ring templates, provenance. No pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from myosem_edge.actions.table import DescriptionTable
from myosem_edge.errors import InputError
from myosem_edge.files import write_atomic
from myosem_edge.learn.teacher.model import DescriptionProjection, Encoder, ModelConfig

SCHEMA = 2


@dataclass
class Trained:
    """An encoder with everything needed to place descriptions in its space.

    `text_mean` (views, text) is frozen at training time, never taken from the current gallery. `provenance` says what
    it was trained on; `family` is "shipped" or "research".
    """

    encoder: Encoder
    projection: DescriptionProjection
    text_mean: Tensor
    ring_templates: dict[str, np.ndarray]
    family: str
    provenance: dict[str, Any]

    @torch.no_grad()
    def prototypes(self, table: DescriptionTable) -> Tensor:
        """Unit prototypes (actions, embedding) of every description of the table."""
        centred = torch.from_numpy(table.vectors) - self.text_mean
        return self.projection(centred, self.encoder.view_weights)

    @torch.no_grad()
    def place(self, sentences: Tensor) -> Tensor:
        """Unit prototypes (n, embedding) of raw sentence embeddings (n, text) that are no view of anything.

        A sentence stands in the place of every view, centred on the mean of the views' means, since it has the style of
        none of them.
        """
        centred = (sentences - self.text_mean.mean(dim=0))[:, None].expand(-1, len(self.text_mean), -1)
        return self.projection(centred, self.encoder.view_weights)

    def save(self, path: Path) -> None:
        tensors = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items()}
        tensors["projection.matrix"] = self.projection.matrix.detach()
        tensors["text_mean"] = self.text_mean
        ids = sorted(self.ring_templates)
        tensors["ring_templates"] = torch.from_numpy(np.stack([self.ring_templates[k] for k in ids]).astype(np.float32))
        header = {
            "schema": SCHEMA,
            "config": self.encoder.config.to_dict(),
            "ring_actions": ids,
            "family": self.family,
            "provenance": self.provenance,
        }
        data = save({k: v.contiguous() for k, v in tensors.items()}, {"myosem": json.dumps(header, sort_keys=True)})
        write_atomic(path, data)

    @classmethod
    def load(cls, path: Path) -> Trained:
        """Raises:
        InputError: missing, damaged, or not a checkpoint of this schema.
        """
        tensors, header = read_tensors(path)
        if header.get("schema") != SCHEMA:
            raise InputError(
                "unknown checkpoint schema",
                where=path,
                found=header.get("schema"),
                expected=SCHEMA,
                todo="Train it again with this version",
            )
        try:
            encoder = Encoder(ModelConfig.from_dict(header["config"]))
            encoder.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("encoder.")})
            encoder.eval()
            projection = DescriptionProjection.__new__(DescriptionProjection)
            torch.nn.Module.__init__(projection)
            projection.matrix = torch.nn.Parameter(tensors["projection.matrix"])
            templates = dict(zip(header["ring_actions"], tensors["ring_templates"].numpy(), strict=True))
            return cls(encoder, projection, tensors["text_mean"], templates, header["family"], header["provenance"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # torch names a wrong shape a RuntimeError
            raise InputError("is not a whole checkpoint", where=path, found=str(error).splitlines()[0]) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and the JSON header under "myosem" of a safetensors file.

    Raises:
        InputError: missing, damaged, or without our header.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("myosem", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"is not a readable checkpoint ({error})", where=path) from error
    if not isinstance(header, dict):
        raise InputError("is not a checkpoint of this project", where=path, todo="Make one with: myosem-edge train")
    return tensors, header
