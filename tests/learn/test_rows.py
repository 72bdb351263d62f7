"""The rows of the benchmark say what they need, what was published, and what may stand beside what."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import InputError
from myosem_edge.learn.datasets import DATASETS
from myosem_edge.learn.datasets.recording import DataSet
from myosem_edge.learn.protocols import rows
from myosem_edge.learn.protocols.rows import ROWS, SOURCES, base_config, find_row, missing_data, require_data
from myosem_edge.learn.scoring.fewshot import BUDGETS
from myosem_edge.signal.montage import MYO
from tests.conftest import shared_data

PAGE = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text(encoding="utf-8")
PUBLISHED = {
    "np-rand": 92.99, "np-user": 67.08, "np-class": 68.04,
    "e2p-rand": 90.88, "e2p-user": 91.76, "e2p-class": 77.39, "db2-db3": 48.26,
}  # fmt: skip


def test_the_published_figures_are_those_of_the_abstract() -> None:
    assert {name: row.published for name, row in ROWS.items() if row.published is not None} == PUBLISHED


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_every_row_is_laid_down_on_the_page(row: rows.Row) -> None:
    line = re.search(rf"^\| `{row.name}` \|.*$", PAGE, re.MULTILINE)
    assert line is not None, row.name
    assert all(name in line[0] for name in row.datasets)
    assert ("-" if row.published is None else f"{row.published:.2f}") in line[0]
    assert ("LEAKY" in line[0]) == any(protocol.leaky for protocol in row.protocols)


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_every_row_says_what_it_cannot_be_compared_with(row: rows.Row) -> None:
    assert row.not_comparable and all(name in SOURCES for name in row.datasets)
    assert set(row.budgets) <= set(BUDGETS)
    assert row.published is None or ("k is not stated" in row.not_comparable and row.comparable)
    assert ("WEAK LABELS" in row.caveat) == row.name.startswith("e2p")
    assert len(set(row.splits)) == len(row.splits)


def test_what_is_random_is_leaky_and_nothing_else_is() -> None:
    for row in ROWS.values():
        for protocol in row.protocols:
            assert protocol.leaky == all(split.kind == "random" for split in protocol.splits)
    for name in ("np-rand", "pack-rand"):
        assert [split.kind for split in ROWS[name].splits] == ["random", "repetition"]


def test_an_unknown_row_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'np-usr' is not a row of the benchmark.*Did you mean 'np-user'"):
        find_row("np-usr")


@pytest.mark.parametrize("name", ["np-user", "db2-db3", "e2p-class", "pack-user"])
def test_missing_data_are_one_error_that_says_what_whence_and_whither(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    assert list(missing_data(row, tmp_path)) == list(row.datasets)
    with pytest.raises(InputError) as caught:
        require_data(row, tmp_path)
    text = str(caught.value)
    assert "Nothing is downloaded" in text and caught.value.exit_code == 3
    for dataset in row.datasets:
        source = SOURCES[dataset]
        assert all(part in text for part in (source.what, source.where, source.terms, str(tmp_path / dataset)))


def test_only_what_is_missing_is_named(tmp_path: Path) -> None:
    for name in ("myo_readings8", "myo_kanoga22"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "p1.npz").touch()
    assert list(missing_data(ROWS["pack-user"], tmp_path)) == ["myo_cotelallard7"]
    with pytest.raises(InputError, match="myo_cotelallard7") as caught:
        require_data(ROWS["pack-user"], tmp_path)
    assert "readings" not in (caught.value.todo or "")


def test_the_packs_have_all_that_their_rows_need() -> None:
    folder = shared_data("myo_readings8").parent
    for name in ("myo_cotelallard7", "myo_kanoga22"):
        shared_data(name)
    assert all(missing_data(row, folder) == {} for name, row in ROWS.items() if name.startswith("pack-"))


def with_montage(**changes: object) -> DataSet:
    return replace(DATASETS["myo_readings8"], montage=replace(MYO, **changes))  # type: ignore[arg-type]


def test_the_encoder_fits_the_electrodes(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = base_config(ROWS["pack-user"], seed=5)
    assert (ring.seed, ring.model.channels, ring.model.frame_samples, ring.augment.ring_jitter) == (5, 8, 5, 0)
    monkeypatch.setitem(DATASETS, "ninapro_db2", with_montage(channels=12, rate_hz=2000.0, layout="sites"))
    sites = base_config(ROWS["np-user"])
    assert (sites.model.channels, sites.model.frame_samples) == (12, 50)
    assert (ring.augment.mixing > 0, sites.augment.mixing) == (True, 0.0)  # no neighbours, so nothing turns


def test_data_sets_with_different_electrodes_are_not_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "ninapro_db2", with_montage(channels=12))
    monkeypatch.setitem(DATASETS, "ninapro_db3", with_montage(channels=10))
    with pytest.raises(InputError, match="ninapro_db3: the data sets of this row have different electrodes"):
        base_config(ROWS["db2-db3"])
