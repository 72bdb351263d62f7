"""The whole export on a few real people: a bundle that every check accepts, the same bytes again, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("onnx", reason="the [train] extra is not installed")

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.bundle import GOLDEN, STEPS, Check, read_bundle, verify_bundle
from myosem_edge.errors import InputError, RefusedError, StorageError
from myosem_edge.export.distil import DistilConfig
from myosem_edge.runtime.backends import BACKENDS
from myosem_edge.runtime.decoder import Model, check_golden, describe_gallery
from myosem_edge.runtime.encoder import Fit
from tests.conftest import KEYS, Exported


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bundle_passes_every_check_with_its_golden_vectors(exported: Exported, backend: str) -> None:
    checks = verify_bundle(exported.path, KEYS, lambda bundle: Check(GOLDEN, *check_golden(bundle, backend)))
    assert [check.name for check in checks] == [*STEPS, GOLDEN]
    assert all(check.ok for check in checks), checks
    named, _, detail = checks[-1].detail.partition(": ")
    assert named.split()[0] == backend and detail.startswith("200 hops, body byte-equal")


def test_all_backends_give_the_same_bytes_of_h(exported: Exported) -> None:
    model = Model.from_bundle(exported.bundle)
    golden = load_tensors(exported.bundle.member("golden.safetensors"))
    fit = Fit(False, 0, golden["scale"])
    found = {backend: model.encoder(fit, backend).whole(golden["samples"]) for backend in BACKENDS}
    assert all(encoded.h.tobytes() == golden["h"].tobytes() for encoded in found.values())
    assert found["litert"].z.tobytes() == found["reference"].z.tobytes()
    assert np.abs(found["onnxruntime"].z - found["reference"].z).max() < 1e-5


def test_a_wrong_golden_vector_is_noticed(exported: Exported) -> None:
    from dataclasses import replace

    from safetensors.numpy import save

    golden = load_tensors(exported.bundle.member("golden.safetensors"))
    for name in ("z", "log_features"):
        wrong = {**golden, name: np.ascontiguousarray(golden[name][::-1])}
        bundle = replace(exported.bundle, members={**exported.bundle.members, "golden.safetensors": save(wrong)})
        assert check_golden(bundle, "reference")[0] is False
    short = {**golden, "samples": golden["samples"][:500]}
    bundle = replace(exported.bundle, members={**exported.bundle.members, "golden.safetensors": save(short)})
    ok, why = check_golden(bundle, "reference")
    assert not ok and "shape of the golden vectors differs" in why


def test_golden_samples_are_real_and_cross_an_onset(exported: Exported) -> None:
    samples = load_tensors(exported.bundle.member("golden.safetensors"))["samples"]
    assert samples.shape == (1000, 8) and np.array_equal(samples, np.rint(samples))
    level = np.abs(samples).reshape(40, -1).mean(axis=1)
    assert level.max() > 2 * level.min() > 0


def test_the_same_inputs_give_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    report = exported.make(tmp_path / "again.myosem")
    assert (tmp_path / "again.myosem").read_bytes() == exported.path.read_bytes()
    assert report.sha256 == exported.report.sha256 == exported.bundle.sha256


def test_the_bundle_says_what_it_is(exported: Exported) -> None:
    manifest, members = exported.bundle.manifest, exported.bundle.members
    assert (manifest.name, manifest.version, manifest.model) == ("small", "1", "shipped")
    assert manifest.hop_ms == 25 and manifest.sizes.log_features == 24 and manifest.montage.channels == 8
    assert manifest.descriptions == len(load_catalogue().ids) == len(describe_gallery(exported.bundle))
    judged = manifest.metrics["judges"]
    assert list(judged)[:2] == ["people", "unit"] or "people" in judged
    assert {"teacher, float32", "student 15k, float32", "student 15k, int8"} <= set(judged)
    card = members["MODEL_CARD.md"].decode()
    for words in (
        "# small 1",
        "Not a medical device",
        "Licences: Apache-2.0, MIT",
        judged["people"],
        "| student 15k, int8 |",
    ):
        assert words in card


def test_the_gallery_is_what_was_seen_and_what_a_grip_needs(exported: Exported, teacher: Any) -> None:
    from myosem_edge.runtime.grips import default_grips_path, load_grip_map

    catalogue = load_catalogue()
    grips = load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips)
    ids = Model.from_bundle(exported.bundle).gallery.ids
    assert set(ids) == {*teacher.provenance["actions"], *grips.actions}
    assert list(ids) == sorted(ids, key=catalogue.ids.index)


def test_the_report_has_a_line_a_step_and_strict_json(exported: Exported) -> None:
    steps = exported.report.steps
    assert [step.name for step in steps] == [
        "teacher, float32",
        "student 15k, float32",
        "student 15k, int8",
        "operating point, bundle",
    ]
    assert steps[1].bytes == 4 * steps[1].parameters == 4 * steps[2].bytes
    assert steps[-1].bytes == exported.path.stat().st_size
    assert steps[0].cost.log_lda == steps[2].cost.log_lda  # the baselines see no encoder
    json.dumps(exported.report.to_dict(), allow_nan=False)


def test_training_with_rounding_makes_another_body_and_layers_are_measured(exported: Exported, tmp_path: Path) -> None:
    report = exported.make(tmp_path / "rounded.myosem", rounded_steps=2, layers=True)
    bodies = [
        load_tensors(read_bundle(path, KEYS).member("encoder.safetensors"))
        for path in (exported.path, tmp_path / "rounded.myosem")
    ]
    assert not np.array_equal(bodies[0]["body.project"], bodies[1]["body.project"])
    assert np.array_equal(bodies[0]["front.kernel"], bodies[1]["front.kernel"])  # only the body is rounded
    layers = report.to_dict()["layers"]
    assert layers[0]["place"] == "inlet" and layers[-1]["place"] == "everything"
    assert exported.report.layers == []


def test_the_report_counts_multiply_adds_and_what_int8_costs(exported: Exported) -> None:
    found = exported.report.to_dict()
    assert found["operations"]["windowed"] > 10 * found["operations"]["streaming"] > 0
    exact, rounded = exported.report.steps[1].cost, exported.report.steps[2].cost
    assert found["int8_loss"]["calibrated"] == exact.calibrated - rounded.calibrated
    assert found["int8_loss"]["zero_shot"] == exact.zero_shot - rounded.zero_shot


def test_int8_that_costs_too_much_is_refused_and_nothing_is_written(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"int8 costs too much accuracy.*--max-int8-loss"):
        exported.make(tmp_path / "worse.myosem", max_int8_loss=-100.0)
    assert list(tmp_path.iterdir()) == []


def test_nobody_may_judge_what_was_distilled_on_them(
    exported: Exported, sample: dict[str, list[Any]], tmp_path: Path
) -> None:
    both = sample["distil"][0]
    with pytest.raises(InputError, match=f"a person is on both sides .found {both.person}"):
        exported.make(tmp_path / "a.myosem", judges=[*sample["judge"], both])


@pytest.mark.parametrize("side", ["distil_sessions", "judges"])
def test_an_export_needs_people_on_both_sides(exported: Exported, tmp_path: Path, side: str) -> None:
    with pytest.raises(InputError, match="people to distil on and people to judge by"):
        exported.make(tmp_path / "a.myosem", **{side: []})


def test_a_missing_folder_is_said_before_any_work(exported: Exported, tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(InputError, match="no such folder"):
        exported.make(tmp_path / "absent" / "a.myosem", progress=lambda stage, done, total: stages.append(stage))
    assert stages == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "Small"}, InputError, "not a name for a bundle .found 'Small'"),
        ({"name": ""}, InputError, "not a name for a bundle"),
        ({"version": "1/2"}, InputError, "not a version for a bundle .found '1/2'"),
        ({}, StorageError, "is a folder"),
    ],
)
def test_what_would_stop_the_writing_is_said_before_any_work(
    exported: Exported, tmp_path: Path, changes: dict[str, str], error: type[Exception], message: str
) -> None:
    stages: list[str] = []
    out = tmp_path / "a.myosem" if changes else tmp_path
    with pytest.raises(error, match=message):
        exported.make(out, progress=lambda stage, done, total: stages.append(stage), **changes)
    assert stages == [] and list(tmp_path.iterdir()) == []


def test_an_older_bundle_stays_when_the_new_one_cannot_be_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from myosem_edge import bundle

    path = tmp_path / "a.myosem"
    path.write_bytes(exported.path.read_bytes())

    def full(*_: object) -> None:
        raise StorageError("cannot be written: No space left on device", where=path)

    monkeypatch.setattr(bundle, "write_atomic", full)
    with pytest.raises(StorageError, match="No space"):
        exported.make(path, config=DistilConfig(size="15k", steps=1, episodes=2))
    assert read_bundle(path, KEYS).sha256 == exported.bundle.sha256


def test_a_teacher_of_places_makes_a_bundle_for_any_ring(
    sample: dict[str, list[Any]], teacher: Any, tmp_path: Path
) -> None:
    """Every second electrode of the sample's armband: a device of four channels, and a bundle of four."""
    from dataclasses import replace

    import torch

    from myosem_edge.export.pipeline import export_bundle
    from myosem_edge.learn.montages import virtual
    from myosem_edge.learn.teacher.model import Encoder
    from myosem_edge.runtime.grips import default_grips_path, load_grip_map
    from myosem_edge.signal.montage import Montage
    from tests.conftest import KEY

    torch.manual_seed(0)
    by_place = replace(teacher, encoder=Encoder(replace(teacher.encoder.config, spatial="harmonic")).eval())
    half = Montage("half", 4, "ring", 200.0, "counts", "")
    distilled, judges = (
        [replace(virtual.every(s, 2), montage=half) for s in sample[role][:1]] for role in ("distil", "judge")
    )
    catalogue, path = load_catalogue(), tmp_path / "half-1.myosem"
    export_bundle(
        by_place, distilled, judges, path, KEY, name="half", version="1", max_int8_loss=100.0,
        grips=load_grip_map(default_grips_path(), catalogue.ids, catalogue.grips),
        config=DistilConfig(size="15k", steps=2, episodes=2),
    )  # fmt: skip
    bundle = read_bundle(path, KEYS)
    model = Model.from_bundle(bundle)
    assert bundle.manifest.montage.channels == model.front.channels == 4
    assert {row.shape for row in model.ring_templates.values()} == {(4,)}
    assert check_golden(bundle, "reference")[0]
