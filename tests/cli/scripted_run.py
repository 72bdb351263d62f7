"""`myosem-edge run` with decisions from a script: always the same action. Arguments: the action, then those of run."""

from __future__ import annotations

import sys
from typing import Any

from myosem_edge.cli import run as module
from myosem_edge.cli.main import main
from tests.runtime.loop_bench import ScriptedDecoder


def make_decoder(*arguments: Any) -> ScriptedDecoder:
    return ScriptedDecoder(sys.argv[1])


if __name__ == "__main__":
    module.make_decoder = make_decoder
    main(["run", *sys.argv[2:]])
