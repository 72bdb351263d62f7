"""Timing with clocks that are handed in: what is counted, what is not, and how late a paced decision was."""

from __future__ import annotations

import pytest

from myosem_edge.bench.timing import HOP_NS, Clocks, Spread, cost, paced, quantile


class FakeTime:
    """A machine on which only `work` and waiting take time; half of all work is somebody else's."""

    def __init__(self) -> None:
        self.wall_ns = self.cpu_ns = 0
        self.calls: list[int] = []

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall_ns, lambda: self.cpu_ns, lambda s: self.work(round(s * 1e9), 0))

    def work(self, wall_ns: int, cpu_ns: int) -> None:
        self.wall_ns += wall_ns
        self.cpu_ns += cpu_ns


def test_the_warm_up_is_called_and_does_not_count() -> None:
    machine = FakeTime()

    def decide(i: int) -> None:
        machine.calls.append(i)
        machine.work(10**9 if i < 5 else 4000, 10**9 if i < 5 else 2000)

    found = cost(decide, 100, 5, machine.clocks())
    assert machine.calls == list(range(105))
    assert (found.cpu_us, found.p50_us, found.p99_us, found.decisions) == (2.0, 4.0, 4.0, 100)


def test_one_slow_decision_in_fifty_is_in_p99_and_not_in_p50() -> None:
    machine = FakeTime()
    found = cost(lambda i: machine.work(50_000 if i == 70 else 1000, 1000), 100, 0, machine.clocks())
    assert (found.p50_us, found.p99_us) == (1.0, 50.0)


def test_late_is_counted_from_when_the_samples_were_due() -> None:
    machine = FakeTime()
    # The third decision takes a hop and a half: it is late itself, and half a hop of it is the next one's.
    spent_ns = {2: 3 * HOP_NS // 2}
    pace = paced(lambda i: machine.work(spent_ns.get(i, 1_000_000), 0), 5, machine.clocks())
    assert pace.late_ms == pytest.approx([1.0, 1.0, 37.5, 13.5, 1.0])
    assert machine.wall_ns == 4 * HOP_NS + 1_000_000


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [((3.0,), 0.99, 3.0), ((1.0, 2.0), 0.5, 1.5), ((3.0, 1.0, 2.0), 0.5, 2.0), (tuple(range(1, 101)), 0.99, 99)],
)
def test_quantiles(values: tuple[float, ...], fraction: float, expected: float) -> None:
    assert quantile(values, fraction) == expected


def test_a_spread_shows_its_ends_where_there_is_more_than_one_value() -> None:
    assert str(Spread((1234.5,))) == "1234" and str(Spread((0.25, 0.2, 0.51))) == "0.25 [0.2, 0.51]"
