"""The demonstration's export runs beside it: whatever ends the one ends the other, and is said once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from myosem_edge.cli import demo as module
from myosem_edge.errors import MyosemError

POPEN = subprocess.Popen
READY = "import signal, sys, time\nprint('x', flush=True)\n"
WAITS = """
import sys, time
try:
    print('x', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put another program in the place of the export; with `interrupted`, Ctrl-C comes while it is waited for."""

    def put(program: str, *, interrupted: bool = False) -> list[subprocess.Popen[bytes]]:
        begun: list[subprocess.Popen[bytes]] = []

        class Fake(POPEN):  # type: ignore[type-arg]
            def __init__(self, command: list[str], env: dict[str, str]) -> None:
                super().__init__([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env)
                begun.append(self)

            def wait(self, timeout: float | None = None) -> int:
                if interrupted and timeout is None and not self.told:
                    self.told = True
                    assert self.stdout is not None
                    self.stdout.read(1)
                    self.send_signal(signal.SIGINT)
                    raise KeyboardInterrupt
                return super().wait(timeout)

            told = False

        monkeypatch.setattr(module.subprocess, "Popen", Fake)
        return begun

    return put


def test_an_export_that_said_that_it_stopped_is_not_repeated(export: Any) -> None:
    begun = export(WAITS, interrupted=True)
    with pytest.raises(click.exceptions.Exit) as caught:
        module._export(Path("a.myosem"))
    assert caught.value.exit_code == 130
    assert begun[0].returncode == 130


def test_an_export_that_ended_without_a_word_is_reported(export: Any) -> None:
    begun = export(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n" + READY + "time.sleep(60)", interrupted=True
    )
    with pytest.raises(KeyboardInterrupt):
        module._export(Path("a.myosem"))
    assert begun[0].returncode == -signal.SIGINT


def test_an_export_that_does_not_listen_is_ended(export: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.01)
    begun = export(
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + READY + "time.sleep(60)", interrupted=True
    )
    with pytest.raises(KeyboardInterrupt):
        module._export(Path("a.myosem"))
    assert begun[0].returncode == -signal.SIGTERM


def test_an_export_that_fails_fails_the_demonstration(export: Any) -> None:
    export("import sys; sys.exit(3)")
    with pytest.raises(MyosemError, match="export ended with exit code 3"):
        module._export(Path("a.myosem"))
    export("pass")
    module._export(Path("a.myosem"))
