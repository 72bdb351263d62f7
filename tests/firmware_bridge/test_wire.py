"""The wire protocol: bytes as the specification has them, anything there and back, and what damage costs."""

from __future__ import annotations

import binascii
import contextlib
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from myosem_edge.firmware_bridge import wire

ROOT = Path(__file__).parents[2]
COUNTS = np.array(
    [[1, -1, 2**23 - 1, -(2**23), 0, 4474, -4474, 100000], [2, -2, 0, 0, 256, -256, 65536, -65536]], np.int32
)
DATA = wire.Data(3, 0x1234, 1_000_000, 5, COUNTS, drive_on=True, off_p=0x81, off_n=2, saturated=0x0C)
INFO = wire.Info(
    3, 1000.0, 4_500_000, (24.0,) * 8, samples_per_frame=10, streaming=True, drive_on=True, sense_p=0xFF, sense_n=2,
    name="myosem-frontend", version="0.1.0", hardware="ADS1299 on STM32F405",
)  # fmt: skip
EXAMPLES: dict[str, wire.Message] = {
    "data": DATA,
    "info": INFO,
    "start": wire.Command(7, wire.Order.START),
    "acknowledge": wire.Acknowledge(7, wire.Order.START, wire.Result.DONE),
    "stop": wire.Command(12, wire.Order.STOP),
    "get info": wire.Command(13, wire.Order.GET_INFO),
    "set rate": wire.set_rate(8, 500.0),
    "set gain": wire.set_gain(9, 12.0),
    "set lead-off": wire.set_lead_off(10, 8, drive_on=True, sense_p=0xFF, sense_n=2),
    "set mode": wire.set_mode(11, wire.Mode.CYTON),
}


def on_the_page() -> dict[str, bytes]:
    page = (ROOT / "docs" / "wire-protocol.md").read_text(encoding="utf-8")
    block = page.split("## Examples", 1)[1].split("```")[1]
    lines = re.findall(r"^([a-z -]+?) {2,}((?:[0-9A-F]{2} ?)+)$", block, re.MULTILINE)
    return {name: bytes.fromhex(text) for name, text in lines}


def bodies(data: bytes) -> list[bytes]:
    return list(wire.Deframer().feed(data))


def test_the_examples_are_those_of_the_specification() -> None:
    assert {name: wire.frame(message) for name, message in EXAMPLES.items()} == on_the_page()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_read_as_it_was_meant(name: str) -> None:
    (body,) = bodies(on_the_page()[name])
    read, meant = wire.parse(body), EXAMPLES[name]
    if isinstance(read, wire.Data):
        np.testing.assert_array_equal(read.counts, COUNTS)
        read, meant = read.body(), meant.body()  # type: ignore[assignment]
    assert read == meant


def test_the_check_sum_is_the_one_that_is_named() -> None:
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1
    assert bodies(wire.frame_of(b"123456789")) == [b"123456789"]


def test_microvolts_are_those_of_the_specification() -> None:
    microvolts = COUNTS[0] * INFO.uv_per_count
    expected = [0.0224, -0.0224, 187500, -187500.02, 0, 100.0017, -100.0017, 2235.17]
    np.testing.assert_allclose(microvolts, expected, rtol=1e-5, atol=1e-4)
    assert INFO.full_scale_uv == pytest.approx(187500.02, abs=0.01)
    uneven = wire.Info(0, 250.0, 2_400_000, (6.0, 12.0))
    assert uneven.uv_per_count[0] == pytest.approx(0.04768, abs=1e-5)
    assert uneven.full_scale_uv == pytest.approx(400_000, rel=1e-6)


def test_ten_samples_take_what_the_specification_says() -> None:
    assert len(wire.frame(wire.Data(0, 0, 0, 0, np.full((10, 8), -5)))) == 261
    largest = wire.Data(255, 65535, 2**32 - 1, 65535, np.full((16, 32), -1), True, *[2**32 - 1] * 3)
    assert len(largest.body()) + 2 <= wire.LONGEST_BODY
    longest = wire.frame_of(bytes(range(1, 255)) * 8 + b"\x01" * 14)
    assert len(longest) - 2 == 2057
    assert len(bodies(longest)) == 1


masks = st.integers(0, 2**32 - 1)
counts = st.tuples(st.integers(1, 16), st.integers(1, 32), st.integers(0, 2**32 - 1)).map(
    lambda shape: np.random.default_rng(shape[2]).integers(-(2**23), 2**23, shape[:2], dtype=np.int32)
)


@given(counts, st.tuples(st.integers(0, 255), st.integers(0, 65535), masks, st.integers(0, 65535)), st.data())
def test_any_data_comes_back(samples: np.ndarray, numbers: tuple[int, ...], draw: st.DataObject) -> None:
    mask = st.integers(0, 2 ** samples.shape[1] - 1)
    off_p, off_n, saturated = (draw.draw(mask) for _ in range(3))
    epoch, sequence, clock_us, overflow = numbers
    sent = wire.Data(epoch, sequence, clock_us, overflow, samples, draw.draw(st.booleans()), off_p, off_n, saturated)
    (body,) = bodies(wire.frame(sent))
    read = wire.parse(body)
    assert isinstance(read, wire.Data)
    np.testing.assert_array_equal(read.counts, samples)
    assert read.body() == sent.body()


texts = st.text(st.characters(codec="ascii"), max_size=32)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=32), st.integers(1, 2**31), texts, texts, st.booleans())
def test_any_info_comes_back(gains: list[int], rate_mhz: int, name: str, hardware: str, ring: bool) -> None:
    thousandths = tuple(gain / 1000 for gain in gains)
    sent = wire.Info(9, rate_mhz / 1000, 1, thousandths, 12, 3, ring=ring, sense_n=1, name=name, hardware=hardware)
    (body,) = bodies(wire.frame(sent))
    assert wire.parse(body) == sent
    assert wire.parse(body + b"later") == sent


@given(st.binary(min_size=1, max_size=600))
def test_any_bytes_come_back_and_no_zero_is_inside(body: bytes) -> None:
    sent = wire.frame_of(body)
    assert sent[0] == sent[-1] == 0
    assert 0 not in sent[1:-1]
    assert bodies(sent) == [body]


@given(st.data(), st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=8))
def test_a_cut_changes_nothing_and_damage_costs_what_it_hit(draw: st.DataObject, sent: list[bytes]) -> None:
    frames = [wire.frame_of(body) for body in sent]
    hit = draw.draw(st.integers(0, len(frames) - 1))
    damaged = bytearray(frames[hit])
    at = draw.draw(st.integers(0, len(damaged) - 1))
    damaged[at : at + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=5))
    stream = b"".join([*frames[:hit], bytes(damaged), *frames[hit + 1 :]])
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    whole, cut = wire.Deframer(), wire.Deframer()
    found = list(whole.feed(stream))
    again = [body for a, b in pairwise([0, *cuts, len(stream)]) for body in cut.feed(stream[a:b])]
    assert found == again
    assert (whole.rejected_bytes, whole.resyncs) == (cut.rejected_bytes, cut.resyncs)
    kept = [body for place, body in enumerate(sent) if place != hit]
    rest = iter(found)
    assert all(body in rest for body in kept)


def test_a_frame_without_end_is_given_up() -> None:
    reader = wire.Deframer()
    assert list(reader.feed(wire.frame(DATA))) == [DATA.body()]
    assert list(reader.feed(b"\x05" * 5000)) == []
    assert (reader.rejected_bytes, reader.resyncs) == (5000, 1)
    assert list(reader.feed(b"\x05" * 10 + wire.frame(DATA))) == [DATA.body()]
    assert (reader.rejected_bytes, reader.resyncs) == (5010, 1)
    assert list(reader.feed(b"\x09")) == []
    reader.forget()
    assert reader.rejected_bytes == 5011


@pytest.mark.parametrize("name", EXAMPLES)
@given(st.data())
def test_what_breaks_the_protocol_is_said_and_never_crashes(name: str, draw: st.DataObject) -> None:
    body = bytearray(EXAMPLES[name].body())
    for _ in range(draw.draw(st.integers(1, 4))):
        body[draw.draw(st.integers(1, len(body) - 1))] = draw.draw(st.integers(0, 255))
    shortened = bytes(body[: draw.draw(st.integers(1, len(body)))])
    with contextlib.suppress(wire.Malformed):
        wire.parse(shortened)


def test_a_data_frame_of_another_length_is_refused() -> None:
    for body in (DATA.body() + b"\0", DATA.body()[:-1], DATA.body()[:12], b"\x11"):
        with pytest.raises(wire.Malformed):
            wire.parse(body)
    nobody = bytearray(DATA.body()[:16])
    nobody[11] = 0
    with pytest.raises(wire.Malformed, match="0 channels"):
        wire.parse(bytes(nobody))


@pytest.mark.parametrize("cut", [5, 20, 40, 60, 80])
def test_half_an_info_is_refused(cut: int) -> None:
    with pytest.raises(wire.Malformed):
        wire.parse(INFO.body()[:cut])


@pytest.mark.parametrize(("at", "size"), [(4, 1), (5, 1), (6, 4), (10, 4), (16, 4)])
def test_an_info_that_cannot_scale_is_refused(at: int, size: int) -> None:
    body = bytearray(INFO.body())
    body[at : at + size] = bytes(size)
    with pytest.raises(wire.Malformed, match="microvolts"):
        wire.parse(bytes(body))


def test_other_kinds_are_skipped_and_other_versions_are_seen() -> None:
    assert wire.parse(b"\x17anything") is None
    assert [wire.version_of(bytes((first,))) for first in (0x11, 0x21, 0xF3)] == [1, 2, 15]
