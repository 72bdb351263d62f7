"""Settings from the command line: typed, nested, and never silently ignored."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from myosem_edge.errors import InputError
from myosem_edge.learn.teacher.config import configure
from myosem_edge.learn.teacher.train import TrainConfig


def test_values_reach_their_field_with_its_type() -> None:
    config = configure(
        TrainConfig(),
        ["steps=7", "learning_rate=1", "model.semantic_queries=false", "model.dilations=[1,4]", "augment.noise=0.2"],
    )
    assert (config.steps, config.learning_rate, config.augment.noise) == (7, 1.0, 0.2)
    assert isinstance(config.learning_rate, float)
    assert config.model.semantic_queries is False and config.model.dilations == (1, 4)
    assert config.ways == TrainConfig().ways


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("step=7", r"'step' is no setting.*Did you mean 'steps'\?"),
        ("model.widht=7", r"'widht' is no setting.*Did you mean 'width'\?"),
        ("steps", "a setting is KEY=VALUE"),
        ("steps=many", "has another type .found str, expected int"),
        ("steps=1.5", "has another type .found float, expected int"),
        ("model.semantic_queries=1", "has another type .found int, expected bool"),
        ("learning_rate=nan", "is not a finite number .found nan"),
        ("learning_rate=NaN", "is not a finite number .found NaN"),
        ("learning_rate=1e999", "is not a finite number .found 1e999"),
        (f"learning_rate=1{'0' * 400}", "is not a finite number"),
        ("learning_rate=fast", "has another type .found str, expected float"),
        ("learning_rate=true", "has another type .found bool, expected float"),
        ("model.dilations=[1,2.5]", "has another type .found tuple, expected a list of int"),
        ("seed=-1", "no such seed .found -1"),
        ("seed=9223372036854775808", "no such seed"),
        ("model=3", "names a group"),
        ("steps.more=3", "names no group"),
    ],
)
def test_a_wrong_setting_says_what_to_type(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        configure(TrainConfig(), [setting])


def test_the_page_on_training_names_fields_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert len(names) > 20
    for name in names:
        value: object = asdict(TrainConfig())
        for part in name.split("."):
            assert isinstance(value, dict) and part in value, name
            value = value[part]
