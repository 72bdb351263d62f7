"""What a front end is told with its name: read by the arguments of its driver, refused in one line that names them."""

from __future__ import annotations

from typing import Literal

import pytest

from myosem_edge.errors import InputError
from myosem_edge.firmware_bridge.frontends import FRONT_ENDS, front_end, make_front_end
from myosem_edge.firmware_bridge.frontends.myo import Myo
from myosem_edge.firmware_bridge.frontends.options import options_of, read_options


class Odd(Myo):
    """A driver with an argument of every kind."""

    def __init__(
        self,
        *,
        channels: int,
        gain: float = 1.0,
        name: str | None = None,
        rate_hz: Literal[100, 1000] = 100,
        bits: int | None = None,
    ) -> None:
        super().__init__()


def test_options_are_the_arguments_of_the_driver() -> None:
    options = options_of(Odd)
    assert list(options) == ["channels", "gain", "name", "rate_hz", "bits"]
    assert [option.kind for option in options.values()] == [int, float, str, int, int]
    assert [name for name, option in options.items() if option.required] == ["channels"]
    assert options["rate_hz"].choices == (100, 1000)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("channels=4", {"channels": 4}),
        ("gain=2.5, channels= 4 ,rate_hz=1000", {"gain": 2.5, "channels": 4, "rate_hz": 1000}),
        ("channels=4,name=D1:22=x", {"channels": 4, "name": "D1:22=x"}),
    ],
)
def test_values_have_the_type_of_their_argument(text: str, values: dict[str, object]) -> None:
    assert read_options(Odd, text) == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("channels=4,chanels=3", r"no such option.*channels=, gain=, name=.*Did you mean channels=\?"),
        ("channels=4,channels=3", "is told twice"),
        ("channels", "an option has no value"),
        ("channels=4,", "an option has no value"),
        ("channels=four", "channels has a wrong value.*'four'.*a whole number"),
        ("channels=4.0", "a whole number"),
        ("channels=4,gain=nan", "gain has a wrong value.*a number"),
        ("channels=4,gain=", "a number"),
        ("channels=4,rate_hz=250", "100 or 1000"),
        ("gain=1", "has to be told more.*channels="),
        ("", "has to be told more.*no options.*channels="),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_options(Odd, text)
    assert "\n" not in str(caught.value)


def test_a_front_end_is_made_of_one_word() -> None:
    driver = make_front_end("myo:mode=filtered,address=D1:22:33:44:55:66")
    assert isinstance(driver, Myo)
    assert driver.address is not None
    assert "filtered" in driver.info.prefiltered
    assert isinstance(make_front_end("cyton"), front_end("cyton"))


def test_a_front_end_without_options_says_so() -> None:
    with pytest.raises(InputError, match="expected no options"):
        make_front_end("cyton:channels=8")
    with pytest.raises(InputError, match="six"):
        make_front_end("myo:address=here")


@pytest.mark.parametrize("name", sorted(FRONT_ENDS))
def test_every_argument_of_every_driver_can_be_typed(name: str) -> None:
    options_of(FRONT_ENDS[name])
