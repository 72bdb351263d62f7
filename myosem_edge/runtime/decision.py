"""What one hop concluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

REST = "rest"  # the action that asks for nothing


@dataclass(frozen=True)
class Decision:
    """One hop's conclusion. `accepted` is the decoder's own verdict; the gate still has to agree.

    `similarity` is the cosine to the action's description; `probability` is calibrated; `margin` is the distance in
    probability to the runner-up; `nearest` are the best descriptions, best first; `level` is the contraction in 0..1
    of the wearer's own calibrated range (0.5 where nothing is calibrated), for proportional control.
    """

    index: int  # counts hops since the decoder started
    time_s: float  # arrival of the newest sample it has seen, monotonic
    action: str
    probability: float
    margin: float
    similarity: float
    source: str  # "calibrated" or "description"
    accepted: bool
    reason: str  # why it was not accepted; "" when it was
    level: float = 0.5
    nearest: tuple[tuple[str, float], ...] = ()

    def facts(self, names: Mapping[str, str]) -> dict[str, Any]:
        """For log and console: rounded, with the plain names of actions."""
        values = {name: value for name, value in asdict(self).items() if name not in ("nearest", "time_s")}
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
        nearest = [[names.get(action, action), round(similarity, 4)] for action, similarity in self.nearest]
        return {**rounded, "name": names.get(self.action, self.action), "nearest": nearest}
