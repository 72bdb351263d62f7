"""The kinds of option of our own, and that the commands use them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.cli._types import SEED, FiniteRange
from myosem_edge.cli.main import main


@given(st.floats())
def test_a_number_passes_exactly_if_it_is_finite_and_in_range(value: float) -> None:
    kind = FiniteRange(0, 100, min_open=True)
    if 0 < value <= 100:
        assert kind.convert(str(value), None, None) == value
    else:
        with pytest.raises(click.BadParameter):
            kind.convert(str(value), None, None)


@pytest.mark.parametrize("text", ["nan", "-NaN", "inf", "-inf", "1e999"])
def test_what_is_not_finite_never_passes(text: str) -> None:
    for kind in (FiniteRange(0), FiniteRange(max=5), FiniteRange(-1, 1, clamp=True)):
        try:
            assert abs(kind.convert(text, None, None)) <= 1, "clamped to a bound"
        except click.BadParameter as error:
            assert "finite" in error.message or "range" in error.message


def test_a_seed_is_what_every_generator_takes() -> None:
    assert SEED.convert(str(2**63 - 1), None, None) == 2**63 - 1
    for text in ("-1", str(2**63)):
        with pytest.raises(click.BadParameter):
            SEED.convert(text, None, None)


@pytest.mark.parametrize("width", ["nan", "inf", "0", "101"])
def test_an_object_has_a_width(width: str) -> None:
    result = CliRunner().invoke(main, ["emulate", "ability", "--object-mm", width])
    assert result.exit_code == 2 and "--object-mm" in result.stderr
