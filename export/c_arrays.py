"""The encoder's numbers as C: what the integer kernel in `cortex_m/` includes, and how each was rounded.

The body is copied: its multipliers travel as the bits of their float32. The front becomes fixed point: constants that
would cost the board a division or a second table are folded into weights and biases here (steps of the inlet, base of
the logarithm, number of samples that a power is the mean of).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from myosem_edge.errors import InputError
from myosem_edge.quantize.network import IntBlock, IntBody, Scale
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import view_scale
from myosem_edge.signal.blockfilter import BlockFilter
from myosem_edge.signal.front import FAST_FRAMES, POWER_FLOOR

HEAD = "/* Made by myosem-edge from a bundle; change the bundle, not this file. */\n"
ACTION_ID = re.compile(r"[a-z0-9_]{1,64}")
GALLERY = "myosem_gallery_arrays.h"
LOG_FRACTION = 24  # bits after the point of a logarithm, as in myosem_numbers.h
FEATURE_FRACTION = 16  # of a feature in steps of the inlet
TABLE_STEPS = 128
WEIGHT_BITS = 24  # of the front; with 16, four times as many features differ from the float front
MOST_LOGS = 2**8  # of 31 bits, times weights of 24 bits, summed below 2^63
LARGEST_INT32 = 2**31 - 1
SIGNAL_BITS = 30  # of a filtered sample: the sum of five products with coefficients of 30 bits fits 63
LARGEST_SAMPLE = 2**15
FEWEST_FRACTION = 6  # bits below one unit of the front end: less would be heard as noise
LONGEST_IMPULSE = 2**17  # samples after which a filter has to be silent
MOST_POWER_SAMPLES = 2**11  # squares of 52 bits whose sum stays below 2^63
MOST_VIEW_VALUES = 2**9
ROWS = 4  # that the kernel computes at once


def generated_files(model: Model) -> dict[str, str]:
    """Text of every generated file by name.

    Raises:
        InputError: the encoder cannot be said in these integers.
    """
    body = IntBody.from_tensors(model.tensors)
    return {
        "myosem_sizes.h": _sizes(model, body),
        "myosem_tables.h": _tables(),
        "myosem_front_arrays.h": _front(model, body.inlet),
        "myosem_body_arrays.h": _body(body, model.view_weights),
        GALLERY: _gallery(model),
    }


def history_bytes(body: IntBody) -> int:
    return sum(block.history for block in body.blocks) * body.width


def _sizes(model: Model, body: IntBody) -> str:
    front, views = model.front, len(model.view_weights)
    if front.frame_samples * max(FAST_FRAMES, front.slow_frames) > MOST_POWER_SAMPLES:
        raise _cannot("samples in a slow power", front.frame_samples * front.slow_frames, MOST_POWER_SAMPLES)
    if 2 * front.kernel.shape[1] > MOST_LOGS:
        raise _cannot("number of mixtures", front.kernel.shape[1], MOST_LOGS // 2)
    if len(body.project) // views > MOST_VIEW_VALUES:
        raise _cannot("values in a view", len(body.project) // views, MOST_VIEW_VALUES)
    for what, count in (("width", body.width), ("embedding", len(body.project))):
        if count % ROWS:
            raise InputError(
                f"a {what} that the integer kernel cannot take", found=count, expected=f"multiple of {ROWS}"
            )
    out = body.blocks[-1].out
    numbers = {
        "CHANNELS": front.channels,
        "FRAME_SAMPLES": front.frame_samples,
        "SECTIONS": model.filter.states // 2,
        "TAPS": front.taps,
        "MIXTURES": front.kernel.shape[1],
        "SLOW_FRAMES": front.slow_frames,
        "POWER_FRAMES": max(FAST_FRAMES, front.slow_frames),
        "WIDTH": body.width,
        "BLOCKS": len(body.blocks),
        "HISTORY_BYTES": history_bytes(body),
        "EMBEDDING": len(body.project),
        "VIEWS": views,
        "GALLERY": len(model.gallery.ids),
    }
    lines = [f"#define MYOSEM_{name} {value}U" for name, value in numbers.items()]
    lines += [f"#define MYOSEM_H_ZERO {out.zero}", f"#define MYOSEM_H_STEP {float(out.step).hex()}f"]
    return f"{HEAD}#ifndef MYOSEM_SIZES_H\n#define MYOSEM_SIZES_H\n\n" + "\n".join(lines) + "\n\n#endif\n"


def _tables() -> str:
    """Parabolas over 128 steps: at most 8.9e-8 from log2 and 1.1e-8 from 2^-t (h^3 / (9 sqrt 3) * max|f'''|).

    The kernel's rounding comes on top: 3e-8 (the result's last bit) and 1.5e-8 (the bend's, nine bits of a place).
    """
    at = np.arange(TABLE_STEPS + 2) / TABLE_STEPS  # two beyond the last interval's begin
    return HEAD + "".join(
        array("uint32_t", f"myosem_{name}_table", np.rint(values * 2**30))
        for name, values in (("log2", np.log2(1 + at)), ("exp2", np.exp2(-at)))
    )


def _front(model: Model, inlet: Scale) -> str:
    front = model.front
    fraction, shift, biquads = _filter(model.filter)
    kernel = front.kernel.T.astype(np.float64)  # (mixtures, taps * channels)
    kernel_shift = np.array([_weight_shift(row) for row in kernel])
    # Steps of the inlet out of logarithms of base 2.
    expand = front.expand.T.astype(np.float64) * np.log(2) / inlet.step
    bias = front.expand_bias.astype(np.float64) / inlet.step
    defines: dict[str, object] = {
        "SIGNAL_FRACTION": f"{fraction}U",
        "BIQUAD_SHIFT": f"{shift}U",
        "TYPICAL_SCALE_Q16": f"{scale_q16(np.array([model.operating_point.typical_rms]))[0]}U",
        "EXPAND_SHIFT": f"{_matrix_shift(expand)}U",
        "GATED": int(front.gate is not None),
        "INLET_ZERO": inlet.zero,
    }
    for name, frames in (("FAST", FAST_FRAMES), ("SLOW", front.slow_frames)):
        count = frames * front.frame_samples
        defines[f"{name}_FLOOR"] = f"{round(POWER_FLOOR * count * 2**32)}U"
        defines[f"{name}_OFFSET"] = round((32 + np.log2(count)) * 2**LOG_FRACTION)
    arrays = [
        array("int32_t", "biquads", biquads, "[5]", f"[{len(biquads)}]"),
        array("int32_t", "kernel", np.rint(kernel * np.exp2(kernel_shift)[:, None])),
        array("uint8_t", "kernel_shift", kernel_shift),
        array("int32_t", "expand", np.rint(expand * np.exp2(_weight_shift(expand)))),
        array("int32_t", "expand_bias", _q16(bias)),
    ]
    if front.gate is not None and front.gate_bias is not None:
        gate = front.gate.T.astype(np.float64)  # of base 2 on both sides: the base cancels
        defines["GATE_SHIFT"] = f"{_matrix_shift(gate)}U"
        arrays += [
            array("int32_t", "gate", np.rint(gate * np.exp2(_weight_shift(gate)))),
            array("int32_t", "gate_bias", _q16(front.gate_bias.astype(np.float64) / np.log(2))),
        ]
    lines = "\n".join(f"#define MYOSEM_{name} {value}" for name, value in defines.items())
    return HEAD + lines + "\n\n" + "".join(arrays)


def scale_q16(scale: np.ndarray) -> np.ndarray:
    """A wearer's scale (channels,) as `myosem_fit` takes it.

    Raises:
        InputError: a channel's scale is too small or too large for 16 bits before and after the point.
    """
    q = np.rint(np.asarray(scale, np.float64) * 2**16)
    if not ((q >= 1) & (q < 2**32)).all():
        raise InputError("a scale that 16 bits before and after the point cannot hold", found=list(np.asarray(scale)))
    return q.astype(np.uint32)


def _filter(filter_: BlockFilter) -> tuple[int, int, np.ndarray]:
    """Fraction bits of the signal, of the coefficients, and those: b0 b1 b2 a1 a2 a section.

    An impulse's sum of magnitudes bounds what any int16 signal can become after each section.
    """
    sos, frame = filter_.sos, filter_.frame_samples
    impulse = np.zeros((LONGEST_IMPULSE // frame * frame, 1))
    impulse[0] = 1.0
    gain = 1.0
    for sections in range(1, len(sos) + 1):
        response = np.abs(BlockFilter(sos[:sections], frame).whole(impulse))
        if response[len(response) // 2 :].sum() > 1e-6 * response.sum():
            raise InputError("a filter that rings too long for fixed point", found=f"section {sections}")
        gain = max(gain, float(response.sum()))
    fraction = int(np.floor(SIGNAL_BITS - 1e-3 - np.log2(LARGEST_SAMPLE * gain)))
    if fraction < FEWEST_FRACTION:
        raise _cannot("gain of the input filter", f"{gain:.3g}", 2 ** (SIGNAL_BITS - 15 - FEWEST_FRACTION))
    coefficients = sos[:, [0, 1, 2, 4, 5]]
    shift = SIGNAL_BITS - max(0, int(np.ceil(np.log2(np.abs(coefficients).max()))))
    return fraction, shift, np.rint(coefficients * 2.0**shift)


def _body(body: IntBody, view_weights: np.ndarray) -> str:
    parts, rows, before = [], [], body.inlet
    for i, block in enumerate(body.blocks):
        name = f"block{i}"
        parts += [
            array("int8_t", f"{name}_taps", block.taps),
            array("int32_t", f"{name}_taps_bias", _bias(block.taps, block.taps_bias, before.zero)),
            array("uint32_t", f"{name}_taps_multiplier", _bits(before.step * block.taps_step / block.mid.step)),
            array("int8_t", f"{name}_mix", block.mix),
            array("int32_t", f"{name}_mix_bias", _bias(block.mix, block.mix_bias, 0)),
            array("uint32_t", f"{name}_mix_multiplier", _bits(block.mid.step * block.mix_step / block.branch.step)),
        ]
        rows.append(_block_row(name, block, before))
        before = block.out
    step = before.step * body.project_step
    parts += [
        array("int8_t", "project", body.project),
        array("int32_t", "project_bias", _bias(body.project, body.project_bias, before.zero)),
        # Relative to the largest: lengths are taken out afterwards.
        array("int32_t", "project_gain", np.rint(step.astype(np.float64) / step.max() * 2**30)),
        array("int32_t", "view_scale_q15", np.rint(view_scale(view_weights)[:, 0].astype(np.float64) * 2**15)),
    ]
    table = ",\n".join(rows)
    return HEAD + "".join(parts) + f"static const block blocks[MYOSEM_BLOCKS] = {{\n{table}\n}};\n"


def _block_row(name: str, block: IntBlock, before: Scale) -> str:
    arrays = [f"{name}_{kind}{part}" for kind in ("taps", "mix") for part in ("", "_bias", "_multiplier")]
    scales = [f"{{{_bits(s.step)[0]}U, {s.zero}}}" for s in (before, block.branch, block.out)]
    fields = [f"{block.dilation}U", *arrays[:3], str(block.mid.zero), *arrays[3:], *scales]
    return f"    {{{', '.join(fields)}}}"


def _gallery(model: Model) -> str:
    if strange := [name for name in model.gallery.ids if not ACTION_ID.fullmatch(name)]:
        raise InputError(
            "an action's name cannot be written into C", found=ascii(strange[0][:40]), expected="a-z, 0-9 and _"
        )
    quoted = ",\n".join(f'    "{name}"' for name in model.gallery.ids)
    vectors = np.clip(np.rint(model.gallery.prototypes.astype(np.float64) * 2**15), -(2**15), 2**15 - 1)
    names = f"static const char *const actions[MYOSEM_GALLERY] = {{\n{quoted}\n}};\n"
    return HEAD + array("int16_t", "gallery", vectors) + names


def _bits(single: np.ndarray | np.float32) -> np.ndarray:
    """Bits of positive normal float32.

    Raises:
        InputError: a step that the kernel's arithmetic does not cover.
    """
    values = np.atleast_1d(np.asarray(single))
    assert values.dtype == np.float32
    if not ((values >= 1e-30) & (values <= 1e30)).all():
        raise InputError("a step of the body is out of range", found=f"{values.min():.3g} to {values.max():.3g}")
    return values.view(np.uint32)


def _bias(weights: np.ndarray, bias: np.ndarray, zero: int) -> np.ndarray:
    """The bias of a sum over activations as they are, of the bias of one over activations minus their zero.

    Raises:
        InputError: a sum might leave 32 bits, whatever the order of adding.
    """
    wide = weights.astype(np.int64)
    most = np.abs(bias.astype(np.int64)) + 2 * 255 * np.abs(wide).sum(axis=1)
    if most.max() > LARGEST_INT32:
        raise _cannot("a sum of the body", int(most.max()), LARGEST_INT32)
    return np.asarray(bias - zero * wide.sum(axis=1))


def _weight_shift(weights: np.ndarray) -> int:
    """Bits after the point with which the largest weight just fits WEIGHT_BITS.

    Raises:
        InputError: the weights are so large that none would be left.
    """
    largest = float(np.abs(weights).max())
    shift = 40 if largest == 0 else min(40, int(np.floor(np.log2((2**WEIGHT_BITS - 1) / largest))))
    if shift < 1:
        raise _cannot("a weight of the front", f"{largest:.3g}", 2 ** (WEIGHT_BITS - 1))
    return shift


def _matrix_shift(weights: np.ndarray) -> int:
    """What a sum of weights times logarithms is shifted by to become a feature in Q16."""
    return _weight_shift(weights) + LOG_FRACTION - FEATURE_FRACTION


def _q16(values: np.ndarray) -> np.ndarray:
    q = np.rint(values * 2**FEATURE_FRACTION)
    if np.abs(q).max() > LARGEST_INT32:
        raise _cannot("a bias of the front", f"{np.abs(values).max():.3g}", 2**15)
    return q


def _cannot(what: str, found: object, most: object) -> InputError:
    return InputError(f"{what} is too large for the integer kernel", found=found, expected=f"at most {most}")


def array(kind: str, name: str, values: np.ndarray | Sequence[int], inner: str = "", outer: str = "[]") -> str:
    """`static const kind name[] = {...};`, the values in order."""
    flat = np.asarray(values).astype(np.int64).reshape(-1)
    suffix = "U" if kind.startswith("u") else ""
    words = [f"{value}{suffix}" for value in flat]
    if inner:
        size = int(inner[1:-1])
        words = ["{" + ", ".join(words[i : i + size]) + "}" for i in range(0, len(words), size)]
    rows = (", ".join(words[i : i + 16]) for i in range(0, len(words), 16))
    return f"static const {kind} {name}{outer}{inner} = {{\n    " + ",\n    ".join(rows) + "\n};\n\n"
