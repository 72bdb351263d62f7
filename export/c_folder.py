"""A folder of C11 out of a verified bundle: the integer kernel, the bundle's numbers and golden vectors, a README."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors

from myosem_edge.bundle import Bundle
from myosem_edge.errors import BundleError, InputError
from myosem_edge.export.c_arrays import GALLERY, HEAD, array, generated_files, history_bytes, scale_q16
from myosem_edge.files import write_folder
from myosem_edge.quantize.network import IntBody
from myosem_edge.runtime.decoder import Model
from myosem_edge.runtime.encoder import Fit
from myosem_edge.signal.front import FAST_FRAMES, FrontState, step_front

GOLDEN = "check/golden.h"
_WIDTHS = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "uint32_t": 4}
_ARRAY = re.compile(r"static const (\w+) \w+\[\d*\](?:\[\d+\])? = \{(.*?)\n\};", re.DOTALL)


@dataclass(frozen=True)
class CFolder:
    """A folder in memory: its files by name, bytes of the arrays (gallery apart) and of one `myosem_state`."""

    files: Mapping[str, bytes]
    array_bytes: int
    gallery_bytes: int
    state_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"files": list(self.files)}

    def write(self, out: Path) -> None:
        """Raises:
        InputError: the folder is there and holds something.
        StorageError: it cannot be written.
        """
        write_folder(out, self.files)


def make_c_folder(bundle: Bundle) -> CFolder:
    """The same bundle gives the same files.

    Raises:
        InputError: the encoder does not fit the integer kernel.
        BundleError: the bundle's numbers do not fit together.
    """
    model = Model.from_bundle(bundle)
    try:
        return c_folder(model, load_tensors(bundle.member("golden.safetensors")), _about(bundle, model))
    except KeyError as error:
        raise BundleError(f"lacks {error}", where=bundle.manifest.file_name) from error


def c_folder(model: Model, golden: Mapping[str, np.ndarray], about: Mapping[str, str]) -> CFolder:
    """golden: samples (n, channels), scale, h and z; about: files of words by name, in which {sizes} is filled in."""
    generated = {**generated_files(model), GOLDEN: golden_header(model, golden)}
    arrays = sum(_array_bytes(text) for name, text in generated.items() if name not in (GOLDEN, GALLERY))
    gallery, state = _array_bytes(generated[GALLERY]), state_bytes(model)
    sizes = f"""| constants | {arrays} bytes, and {gallery} of the gallery |
| state | {state} bytes, yours, one for each arm |"""
    words = {name: text.replace("{sizes}", sizes) for name, text in about.items()}
    texts = {name: text.encode() for name, text in {**generated, **words}.items()}
    return CFolder(dict(sorted({**kernel_files(), **texts}.items())), arrays, gallery, state)


def kernel_files() -> dict[str, bytes]:
    """The kernel as it ships: everything in the folder that no bundle changes, by name within it."""
    found: dict[str, bytes] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.read_bytes()

    walk(resources("myosem_edge.export") / "cortex_m", "")
    return dict(sorted(found.items()))


def golden_header(model: Model, golden: Mapping[str, np.ndarray]) -> str:
    """The golden vectors as C: samples and scale in; features of the float front, h and nearest description out."""
    channels, frame = model.front.channels, model.front.frame_samples
    samples = np.rint(golden["samples"])
    if np.abs(samples).max() > 2**15 - 1:
        raise InputError("golden samples beyond 16 bits", found=float(np.abs(samples).max()))
    body = IntBody.from_tensors(model.tensors)
    features = float_features(model, samples, golden["scale"])
    h = body.blocks[-1].out.quantise(golden["h"])
    nearest = (golden["z"] @ model.gallery.prototypes.T).argmax(axis=1)
    scales = ", ".join(f"{value}U" for value in scale_q16(golden["scale"]))
    kinds: dict[str, tuple[str, np.ndarray]] = {
        "samples": ("int16_t", samples[: len(features) * frame, :channels]),
        "features": ("uint8_t", body.inlet.quantise(features)),
        "h": ("uint8_t", h),
        "nearest": ("uint32_t", nearest),
    }
    arrays = "".join(array(kind, f"golden_{name}", values) for name, (kind, values) in kinds.items())
    fit = f"static const myosem_fit golden_fit = {{false, 0U, {{{scales}}}}};\n"
    return f"{HEAD}#define GOLDEN_FRAMES {len(features)}U\n\n{arrays}{fit}"


def float_features(model: Model, samples: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features (k, width) of the float front from raw samples (n, channels), worn as shown: what a body is given."""
    filtered = model.filter.whole(samples.astype(np.float64))
    scaled = (filtered.astype(np.float32) / Fit(False, 0, scale).scale).astype(np.float32)
    frames = scaled.reshape(-1, model.front.frame_samples, model.front.channels)
    return step_front(model.front, frames, FrontState.start(model.front))[0]


def state_bytes(model: Model) -> int:
    """sizeof(myosem_state): on a processor that aligns 64-bit numbers to 8 bytes, as all of these do."""
    front, body = model.front, IntBody.from_tensors(model.tensors)
    channels, mixtures = front.channels, front.kernel.shape[1]
    sizes = (
        (4, channels),  # source
        (8, channels),  # inverse
        (4, channels),  # inverse_shift
        (4, channels * (model.filter.states // 2 + 1) * 2),  # delays
        (4, (front.taps - 1 + front.frame_samples) * channels),  # line
        (8, max(FAST_FRAMES, front.slow_frames) * mixtures),  # powers
        (8, mixtures),  # slow_power
        (8, channels),  # channel_power
        (4, 1),  # newest_power
        (1, history_bytes(body)),
        (4, len(body.blocks)),  # oldest
        (8, 0),
    )
    at = 0
    for size, count in sizes:
        at = -(-at // size) * size + size * count
    return at


def _array_bytes(text: str) -> int:
    return sum(_WIDTHS.get(kind, 0) * (values.count(",") + 1) for kind, values in _ARRAY.findall(text))


def _about(bundle: Bundle, model: Model) -> dict[str, str]:
    manifest = bundle.manifest
    sizes, montage = manifest.sizes, manifest.montage
    readme = f"""# {manifest.name} {manifest.version} in C

The encoder of one bundle (sha256 {bundle.sha256}) as C11 without heap, floating point or operating system, for
Cortex-M and whatever else has 32-bit integers. **Not a medical device**: it proposes, and the gate that decides is
not in this folder ([MODEL_CARD.md](MODEL_CARD.md) says on whom it was trained and measured).

```c
#include "myosem.h"

static myosem_state state;
int16_t samples[MYOSEM_FRAME_VALUES];  /* a frame, sample by sample, channel by channel */
uint8_t h[MYOSEM_WIDTH];
int16_t z[MYOSEM_EMBEDDING];
int32_t cosine_q15;

myosem_init(&state, NULL);             /* or the wearer's myosem_fit; once */
for (;;) {{
    read_frame(samples);               /* yours */
    myosem_push_frame(&state, samples, h, z);
    const char *action = myosem_action(myosem_nearest(z, &cosine_q15));
}}
```

| | |
|---|---|
| samples | {montage.channels} channels at {montage.rate_hz:g} Hz in {montage.unit}, int16, unfiltered |
| a frame | {model.front.frame_samples} samples, {manifest.hop_ms:g} ms |
| h | {sizes.h} numbers, u8: `(h - MYOSEM_H_ZERO) * MYOSEM_H_STEP` |
| z | {sizes.z} numbers of unit length, Q15 |
| gallery | {len(model.gallery.ids)} descriptions; left out by the linker where `myosem_nearest` is not called |
| settled after | {manifest.window_ms:g} ms: the first frames after a start know less than they need |
{{sizes}}

`make` builds a library for a Cortex-M3 (`CPU=cortex-m4` for another); `make check` runs the bundle's golden vectors on
this computer, `make check-qemu` in QEMU, `make size` weighs the least program. Compile the five `.c` files of this
folder with any C11 compiler; no option is needed for right results, and `-ffast-math` does no harm.

Samples that were lost have to be replaced by zeros, or the stream started again with `myosem_init`. Samples beyond
1024 times the wearer's level are clipped.

Code: Apache-2.0 ([LICENSE](LICENSE)). The numbers come from the bundle's training; its licences are in the model card.
"""
    return {"README.md": readme, "MODEL_CARD.md": bundle.member("MODEL_CARD.md").decode()}
