"""The model card that travels in every bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from myosem_edge.export.distil import DistilConfig, size_name, student_config
from myosem_edge.learn.teacher.checkpoint import Trained

# Of the table of costs, in its order.
COLUMNS = ("zero_shot_r1", "calibrated_1_repetition", "log_feature_lda", "hudgins_lda")


def model_card(name: str, version: str, teacher: Trained, config: DistilConfig, metrics: Mapping[str, Any]) -> str:
    """Markdown: what it is, on whom it was trained, on whom it was measured, what it must not be used for."""
    provenance = teacher.provenance
    judges = metrics["judges"]
    rows = [(step, values) for step, values in judges.items() if isinstance(values, Mapping)]
    table = "\n".join(
        f"| {step} | " + " | ".join(f"{values[column]:.1f}" for column in COLUMNS) + " |" for step, values in rows
    )
    people = "\n".join(f"- {dataset}: {', '.join(names)}" for dataset, names in provenance["people"].items())
    return f"""# {name} {version}

An EMG encoder aligned with natural-language descriptions of hand actions: an implementation of the MyoSem idea,
reconstructed from its abstract. Family: **{teacher.family}**.

**Not a medical device.** It proposes; the gate decides. It has never been tried on a person without a hand.

## Trained on
{people}

Actions: {", ".join(provenance["actions"])}.
Licences: {", ".join(provenance["licences"])}.
{_student(teacher, config)}

## Measured on people it has never seen
{judges["people"]}; {judges["unit"]}. Zero-shot: band as worn, no data of the person but the overall signal level.
Calibrated: one repetition of each action. Both LDA columns were fitted on the same repetition.

| encoder | zero-shot R@1 | calibrated | log-feature LDA | Hudgins LDA |
|---|---|---|---|---|
{table}

## Known limits
- Able-bodied adults with an eight-channel armband at 200 Hz only. Other montages are refused.
- Labels of the training data are cues moved to where the muscle changed; onsets were trained on, free movement was not.
- Without calibration the zero-shot column is what to expect; it is not enough to drive a hand.
- Intervals over so few judges are wide; the larger tables are in the project's documentation.
"""


def _student(teacher: Trained, config: DistilConfig) -> str:
    shape = student_config(teacher.encoder.config, config.size)
    if shape == teacher.encoder.config:
        return f"Size {size_name(shape)}, trained directly: no distillation."
    return f"Student: size {size_name(shape)}, {config.steps} steps of distillation, seed {config.seed}."
