"""Training: learns what is there, resumes to the same bits, keeps held-out people and repetitions out."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch

from myosem_edge.actions.catalogue import load_catalogue
from myosem_edge.actions.table import load_table
from myosem_edge.errors import InputError
from myosem_edge.learn.scoring.embed import embed, torch_encode
from myosem_edge.learn.scoring.metrics import emg_to_text
from myosem_edge.learn.teacher import train as trainer
from myosem_edge.learn.teacher.batches import AugmentConfig, Sampler, find_executions
from myosem_edge.learn.teacher.checkpoint import Trained, read_tensors
from myosem_edge.learn.teacher.config import configure
from myosem_edge.learn.teacher.model import ModelConfig
from myosem_edge.learn.teacher.train import TrainConfig, align_sessions, train
from myosem_edge.signal.montage import Montage
from tests.learn.conftest import NAMES, made_up_session

SMALL = TrainConfig(
    model=ModelConfig(width=32, mixtures=12, filters=3),
    steps=30,
    episodes=3,
    ways=4,
    queries=1,
    checkpoint_every=10,
    augment=AugmentConfig(ring_jitter=0, gain_sigma=0.1, mixing=0.0, noise=0.0),
)


def run(config=SMALL, folder=None, progress=lambda step, row: None, sessions=None, **changes):
    torch.set_num_threads(1)
    sessions = sessions or [made_up_session(seed, subject=f"s{seed}") for seed in range(3)]
    return train(
        config,
        sessions,
        changes.get("catalogue", load_catalogue()),
        changes.get("table", load_table()),
        family=changes.get("family", "research"),
        provenance={"split": changes.get("split", {"kind": "user", "fold": 0})},
        run_folder=folder,
        progress=progress,
    )


@pytest.fixture(scope="module")
def trained():
    return run(replace(SMALL, steps=80))


def test_retrieves_the_descriptions_of_a_person_it_has_not_seen(trained):
    ids = load_catalogue().ids
    gallery = sorted(ids.index(name) for name in NAMES)
    e = embed(made_up_session(99, subject="new"), torch_encode(trained))
    found = emg_to_text(e.z @ trained.prototypes(load_table()).numpy()[gallery].T, np.searchsorted(gallery, e.action))
    assert found["R@1"] > 60  # chance is 25


def test_a_start_without_labels_learns_to_foresee_the_signal():
    """The pattern of a hold goes on: what is seen of it foretells the next frames, better with every step."""
    losses, rows = [], []

    def progress(step, row):
        (rows if step else losses).append(row["loss"])

    run(replace(SMALL, steps=2, pretrain_steps=60), progress=progress)
    assert (len(losses), len(rows)) == (60, 2)
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])


def test_a_resumed_run_is_not_pretrained_again(tmp_path):
    config = replace(SMALL, steps=20, pretrain_steps=3)
    whole, steps = run(config), []

    def stop_at_15(step, row):
        if step == 15:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(config, folder=tmp_path, progress=stop_at_15)
    resumed = run(config, folder=tmp_path, progress=lambda step, row: steps.append(step))
    assert steps == list(range(11, 21))
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[name]), name


class Interrupted(Exception):
    pass


def test_an_interrupted_run_ends_in_the_same_weights(tmp_path):
    def stop_at_15(step, row):
        if step == 15:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(folder=tmp_path, progress=stop_at_15)
    steps = []
    resumed = run(folder=tmp_path, progress=lambda step, row: steps.append(step))
    assert steps[0] == 11  # the last checkpoint was at 10
    straight = run()
    for name, value in straight.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[name]), name


def test_another_configuration_does_not_resume(tmp_path):
    run(folder=tmp_path)
    with pytest.raises(InputError, match="learning_rate"):
        run(replace(SMALL, learning_rate=1e-4), folder=tmp_path)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    run(replace(SMALL, steps=2), folder=folder)
    return folder


def other_table():
    table = load_table()
    return replace(table, vectors=np.ascontiguousarray(table.vectors[:, ::-1]))


def other_texts():
    catalogue = load_catalogue()
    first = catalogue.ids[0]
    return replace(
        catalogue, actions={**catalogue.actions, first: replace(catalogue[first], name="doing nothing whatsoever")}
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"split": {"kind": "user", "fold": 1}}, "split"),
        ({"split": {"kind": "dataset", "fold": 0, "held_dataset": "myo_kanoga22"}}, "split"),
        ({"family": "shipped"}, "family"),
        ({"sessions": [made_up_session(seed, subject=f"s{seed}") for seed in range(4)]}, "people, recordings"),
        ({"sessions": [made_up_session(s, subject=f"s{s}", repetitions=5) for s in range(3)]}, "recordings"),
        ({"table": other_table()}, "description table"),
        ({"catalogue": other_texts()}, "catalogue texts"),
    ],
)
def test_another_split_or_other_data_do_not_resume(interrupted, changes, named):
    """Weights that have seen a person must not go on as the weights of a fold that judges that person."""
    before = (interrupted / "resume.safetensors").read_bytes()
    with pytest.raises(InputError, match=rf"found different {named}\)\. .*another --out"):
        run(replace(SMALL, steps=2), folder=interrupted, **changes)
    assert (interrupted / "resume.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "lack", ["model.log_scale", "optimiser.0.exp_avg", "optimiser.1", "step", "tensors", "history"]
)
def test_an_interrupted_run_that_lacks_a_part_is_one_clear_error(interrupted, tmp_path, lack):
    import json

    from safetensors.torch import save_file

    from myosem_edge.learn.teacher.checkpoint import read_tensors

    tensors, header = read_tensors(interrupted / "resume.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith(lack)}
    assert (len(kept) < len(tensors)) != (header.pop(lack, None) is not None)
    save_file(kept, tmp_path / "resume.safetensors", {"myosem": json.dumps(header)})
    with pytest.raises(InputError, match=r"not a whole interrupted run.*Remove it to begin anew"):
        run(replace(SMALL, steps=2), folder=tmp_path)


def test_a_run_of_before_that_does_not_say_what_it_is_is_refused(interrupted, tmp_path):
    import json

    from safetensors.torch import save_file

    from myosem_edge.learn.teacher.checkpoint import read_tensors

    tensors, header = read_tensors(interrupted / "resume.safetensors")
    del header["run"]
    save_file(tensors, tmp_path / "resume.safetensors", {"myosem": json.dumps(header)})
    with pytest.raises(InputError, match=r"found different .*family.*split"):
        run(replace(SMALL, steps=2), folder=tmp_path)


def test_nothing_to_train_on_is_said():
    with pytest.raises(InputError, match="no session"):
        train(SMALL, [], load_catalogue(), load_table(), family="research", provenance={})


def test_checkpoint_round_trip(trained, tmp_path):
    trained.save(tmp_path / "t.safetensors")
    again = Trained.load(tmp_path / "t.safetensors")
    assert (
        again.encoder.config == trained.encoder.config and again.provenance["actions"] == trained.provenance["actions"]
    )
    assert torch.equal(again.prototypes(load_table()), trained.prototypes(load_table()))
    assert sorted(again.ring_templates) == sorted(NAMES)
    trained.save(tmp_path / "u.safetensors")
    assert (tmp_path / "t.safetensors").read_bytes() == (tmp_path / "u.safetensors").read_bytes()


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint at all", "cut", "foreign"])
def test_a_damaged_checkpoint_is_one_clear_error(trained, tmp_path, damage):
    path = tmp_path / "t.safetensors"
    trained.save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "foreign":
        from safetensors.numpy import save_file

        save_file({"x": np.zeros(3)}, path)
    else:
        path.write_bytes(damage)
    with pytest.raises(InputError, match="checkpoint"):
        Trained.load(path)


@pytest.mark.parametrize("lack", ["config", "ring_actions", "schema", "encoder.project.weight", "text_mean"])
def test_a_checkpoint_that_lacks_a_part_is_one_clear_error(trained, tmp_path, lack):
    import json

    from safetensors.torch import save_file

    from myosem_edge.learn.teacher.checkpoint import read_tensors

    path = tmp_path / "t.safetensors"
    trained.save(path)
    tensors, header = read_tensors(path)
    tensors.pop(lack, None)
    header.pop(lack, None)
    save_file(tensors, path, {"myosem": json.dumps(header)})
    with pytest.raises(InputError, match=r"not a whole checkpoint|unknown checkpoint schema"):
        Trained.load(path)


def test_weights_of_another_size_are_one_clear_error(trained, tmp_path):
    path = tmp_path / "t.safetensors"
    other = replace(trained, encoder=type(trained.encoder)(replace(trained.encoder.config, width=48)))
    other.encoder.config = trained.encoder.config
    other.save(path)
    with pytest.raises(InputError, match="not a whole checkpoint"):
        Trained.load(path)


def test_too_few_repetitions_for_an_episode_are_said():
    with pytest.raises(InputError, match="no session has 4 actions with 2 repetitions"):
        run(sessions=[made_up_session(repetitions=1)])


def test_rings_are_brought_together():
    ids = load_catalogue()
    sessions = [made_up_session(seed, subject=f"s{seed}", shift=shift) for seed, shift in enumerate((0, 0, 0, 2, 7))]
    align_sessions(sessions, ids)
    assert [s.shift for s in sessions] == [0, 0, 0, 2, 7]


def test_an_episode_shares_its_session_and_separates_support_from_query():
    sampler = Sampler([made_up_session(s, subject=f"s{s}") for s in range(2)], 26, 14, AugmentConfig())
    x, actions = sampler.episodes([np.random.default_rng(0)] * 5, 4, 2)
    assert x.shape == (5, 4, 3, 8, 130) and actions.shape == (5, 4)
    assert all(len(set(row)) == 4 for row in actions)
    assert not np.array_equal(x[:, :, 0], x[:, :, 1])


def test_episodes_are_as_wide_as_the_poorest_data_set_allows():
    poor = made_up_session(1, subject="p", dataset="poor", actions=NAMES[:3])
    rich = made_up_session(2, subject="r", dataset="rich")
    sampler = Sampler([poor, rich], 26, 14, AugmentConfig())
    assert (sampler.fair_ways(7, 2), sampler.fair_ways(2, 2)) == (3, 2)
    x, _ = sampler.episodes([np.random.default_rng(0)] * 20, 3)
    assert len(x) == 20  # with four ways the poor data set would never be seen


def test_sampling_is_a_function_of_the_seed():
    sampler = Sampler([made_up_session()], 26, 14, AugmentConfig())
    a, _ = sampler.episodes([np.random.default_rng(7)] * 2, 3)
    b, _ = sampler.episodes([np.random.default_rng(7)] * 2, 3)
    assert np.array_equal(a, b)


def test_executions_never_cross_labels():
    session = made_up_session()
    for e in find_executions([session], 10):
        clip = session.clips[e.clip]
        assert (clip.action[e.start : e.stop] == e.action).all()
        assert (clip.repetition[e.start : e.stop] == e.repetition).all()


def forty(seed=3):
    return [np.random.default_rng([seed, number]) for number in range(40)]


def masked(sampler):
    return sampler.masked_episodes(forty(), 3, 1)


def test_without_missing_electrodes_every_draw_is_as_it_was():
    sessions = [made_up_session()]
    plain = Sampler(sessions, 26, 14, AugmentConfig())
    x, actions, mask = masked(plain)
    assert mask is None
    again, same = plain.episodes(forty(), 3, 1)
    assert np.array_equal(x, again) and np.array_equal(actions, same) and not (x == 0).all(axis=-1).any()


@pytest.mark.parametrize(
    ("switch", "counts"), [({"subset": 1.0}, {4, 6}), ({"channel_dropout": 0.5}, {3, 4, 5, 6, 7, 8}), ({}, {8})]
)
def test_a_missing_electrode_is_zero_and_masked_for_a_whole_episode(switch, counts):
    x, _, mask = masked(Sampler([made_up_session()], 26, 14, AugmentConfig(**switch)))
    if mask is None:
        mask = np.ones((40, 8), dtype=bool)
    silent = (x == 0).all(axis=-1)  # (episodes, ways, repetitions, channels)
    assert np.array_equal(silent, np.broadcast_to(~mask[:, None, None], silent.shape))
    assert set(mask.sum(axis=1).tolist()) <= counts and len(set(mask.sum(axis=1).tolist())) >= min(2, len(counts))


@pytest.mark.parametrize("spatial", ["harmonic", "electrodes"])
def test_training_with_missing_electrodes(spatial):
    config = replace(
        SMALL, model=replace(SMALL.model, spatial=spatial), augment=AugmentConfig(subset=0.5, channel_dropout=0.1)
    )
    assert all(np.isfinite(row["loss"]) for row in run(config).provenance["history"])


def test_a_model_of_places_learns_from_one_ring_only():
    montage = Montage("x", 8, "sites", 200.0, "counts", "")
    with pytest.raises(InputError, match="trained on one ring"):
        run(
            replace(SMALL, model=replace(SMALL.model, spatial="harmonic")),
            sessions=[replace(made_up_session(), montage=montage)],
        )


@pytest.mark.parametrize(
    "setting",
    [
        "steps=0",
        "queries=0",
        "checkpoint_every=0",
        "segment_frames=11",
        "judged_frames=13",
        "learning_rate=0",
        "spoken_share=1.1",
        "model.width=-3",
        "model.embedding=126",
        "model.dilations=[]",
        "augment.ring_jitter=-1",
        "augment.onsets=1.5",
    ],
)
def test_a_setting_outside_its_range_is_refused_before_anything_is_read(setting):
    with pytest.raises(InputError, match=r"range|sizes that make no encoder"):
        configure(TrainConfig(), [setting])


def test_the_edges_of_the_ranges_are_inside():
    configure(TrainConfig(), ["steps=1", "segment_frames=12", "judged_frames=12", "spoken_share=1", "augment.mixing=1"])


def test_a_training_that_diverges_stops_and_says_so(tmp_path, monkeypatch):
    real, steps = trainer._step_losses, []

    def losses(*arguments):
        steps.append(0)
        numbers = real(*arguments)
        return numbers if len(steps) < 3 else numbers | {"loss": numbers["loss"] * float("nan")}

    monkeypatch.setattr(trainer, "_step_losses", losses)
    with pytest.raises(InputError, match=r"training diverged .found loss nan at step 3"):
        run(replace(SMALL, checkpoint_every=1), tmp_path)
    _, header = read_tensors(tmp_path / "resume.safetensors")
    assert header["step"] == 2  # what was good is kept
