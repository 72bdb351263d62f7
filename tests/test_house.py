"""The rules of the house, read from the source: who may import whom, what nobody may call, what no file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "myosem_edge"
ROOMS = ("boards", "calibration", "export", "firmware_bridge", "quantize")
TRAINING_PACKAGES = {"torch", "scipy", "onnx", "onnxscript", "matplotlib", "rich", "h5py", "tokenizers", "transformers"}
TRAINING_SIDE = ("myosem_edge.learn", "myosem_edge.export", "myosem_edge.demo")

# Who may import which of our own modules; a folder may always import itself.
ALLOWED = {
    "signal": {"errors"},
    "firmware_bridge": {"errors", "clock"},
    "boards": {"errors", "files", "bundle", "keys", "clock"},
    "calibration": {
        "errors",
        "files",
        "clock",
        "signal",
        "runtime",
        "bundle",
        "manifest",
        "firmware_bridge",
        "actions",
    },
    # The numpy reference is quantize's; the runtime is where it runs.
    "runtime": {
        "errors",
        "files",
        "clock",
        "signal",
        "bundle",
        "manifest",
        "firmware_bridge",
        "actions",
        "quantize.network",
    },
    "actions": {"errors", "files"},
}
# What an installation without extras runs: nothing here may need a training package, and nothing that it imports may.
BOARD_SIDE = (
    *("runtime", "calibration", "signal", "firmware_bridge", "boards", "bench"),
    *("bundle.py", "archive.py", "manifest.py", "keys.py", "onnx_scan.py", "tflite_scan.py"),
    *("files.py", "clock.py", "errors.py"),
    *(
        f"cli/{name}.py"
        for name in ("main", "run", "bench", "calibrate", "doctor", "bundle", "grips", "keys", "emulate", "record")
    ),
)
MOST_LINES = 420
LONGER: dict[str, str] = {}  # module -> why it may be longer
LARGEST_BYTES = 2_000_000
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def name_of(path: Path) -> str:
    """Dotted name of a module file below the package folder, the way everybody imports it."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Every module of the package, rooms included, by dotted name."""
    folders = [PACKAGE, *(PACKAGE / room for room in ROOMS)]
    files = {path for folder in folders for path in folder.rglob("*.py")}
    return {name_of(path): path for path in sorted(files)}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def dynamic_imports(path: Path) -> list[ast.Call]:
    calls = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return [call for call in calls if ast.unparse(call.func) in ("importlib.import_module", "__import__")]


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports anywhere, inside functions and for types alike."""
    found = {str(call.args[0].value) for call in dynamic_imports(path) if isinstance(call.args[0], ast.Constant)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {member if member in modules() else node.module for member in members}
    return frozenset(found)


def within(name: str, *folders: str) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def part(folder_or_file: str) -> list[str]:
    dotted = f"myosem_edge.{folder_or_file.removesuffix('.py').replace('/', '.')}"
    found = [name for name in modules() if within(name, dotted)]
    assert found, folder_or_file
    return found


def everything_behind(names: list[str]) -> dict[str, str]:
    """Our own modules that those import, directly or not: module -> one that imports it."""
    behind, waiting = dict.fromkeys(names, "itself"), list(names)
    while waiting:
        name = waiting.pop()
        for imported in imports(modules()[name]):
            if imported in modules() and imported not in behind:
                behind[imported] = name
                waiting.append(imported)
    return behind


@cache
def files() -> tuple[Path, ...]:
    """Every file that is or would be committed, links left out."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


@pytest.mark.sr("SR-20")
@pytest.mark.parametrize("module", ["runtime.gate", "runtime.limits", "runtime.guard"])
def test_the_gate_and_the_guard_import_the_standard_library_only(module: str) -> None:
    own = {"myosem_edge.runtime.limits"} if module == "runtime.gate" else set()
    foreign = imports(modules()[f"myosem_edge.{module}"]) - sys.stdlib_module_names
    assert {name for name in foreign if name.partition(".")[0] not in sys.stdlib_module_names} == own


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    permitted = [f"myosem_edge.{name}" for name in {folder, *ALLOWED[folder]}]
    wrong = [
        f"{name} imports {imported}"
        for name in part(folder)
        for imported in imports(modules()[name])
        if within(imported, "myosem_edge") and imported != "myosem_edge" and not within(imported, *permitted)
    ]
    assert wrong == []


@pytest.mark.parametrize("place", BOARD_SIDE)
def test_nothing_behind_the_board_side_needs_a_training_package(place: str) -> None:
    behind = everything_behind(part(place))
    ours = [f"{name} (through {behind[name]})" for name in behind if within(name, *TRAINING_SIDE)]
    foreign = [
        f"{name} imports {imported}"
        for name in behind
        for imported in imports(modules()[name])
        if imported.partition(".")[0] in TRAINING_PACKAGES
    ]
    assert ours + foreign == []


# Paraphrases judge the space of descriptions. Whoever learns from them has nothing left to be judged by.
READERS_OF_PARAPHRASES = {"myosem_edge.cli.actions", "myosem_edge.cli.vocabulary"}
JUDGES = (
    "myosem_edge.actions.paraphrases",
    "myosem_edge.learn.vocabulary",
)


def test_paraphrases_are_read_by_those_who_judge_and_by_nobody_else() -> None:
    readers = {
        name
        for name, path in modules().items()
        if not within(name, *JUDGES)
        and (any(within(imported, *JUDGES) for imported in imports(path)) or "paraphrases." in path.read_text("utf-8"))
    }
    assert readers <= READERS_OF_PARAPHRASES
    for learner in ("learn.teacher", "learn.scoring", "export", "calibration", "runtime", "demo"):
        assert not [name for name in everything_behind(part(learner)) if within(name, *JUDGES)], learner


@pytest.mark.parametrize("name", sorted(modules().keys() - {"myosem_edge.cli.main"}))
def test_nothing_is_imported_by_a_name_that_is_not_written_there(name: str) -> None:
    """The rules above read import statements; the table of commands alone may go past them."""
    hidden = [
        ast.unparse(call) for call in dynamic_imports(modules()[name]) if not isinstance(call.args[0], ast.Constant)
    ]
    assert hidden == []


@pytest.mark.parametrize("name", modules())
def test_a_module_is_short_enough_to_read(name: str) -> None:
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES or name in LONGER, f"{name} has {lines} lines"


def test_no_longer_module_is_excused_that_has_become_short() -> None:
    lines = {name: len(modules()[name].read_text(encoding="utf-8").splitlines()) for name in LONGER}
    assert [name for name, count in lines.items() if count <= MOST_LINES] == []


@pytest.mark.parametrize("name", modules())
def test_nothing_from_a_file_is_executed(name: str) -> None:
    path = modules()[name]
    wrong = [imported for imported in imports(path) if imported.partition(".")[0] in UNPICKLERS]
    for call in (node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if (
            function in ("eval", "exec", "os.system", "yaml.load", "torch.load", "torch.jit.load", "onnx.load")
            or (function in ("np.load", "numpy.load") and options.get("allow_pickle") != "False")
            or options.get("shell", "False") != "False"
        ):
            wrong.append(f"line {call.lineno}: {ast.unparse(call)[:80]}")
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_reached_through_a_relative_link_that_resolves(room: str) -> None:
    link = PACKAGE / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room
    assert (link / "__init__.py").is_file()


def test_there_is_no_other_link_in_the_package() -> None:
    assert sorted(path.name for path in PACKAGE.rglob("*") if path.is_symlink()) == sorted(ROOMS)


def test_no_file_is_large() -> None:
    large = {str(path.relative_to(ROOT)): size for path in files() if (size := path.stat().st_size) > LARGEST_BYTES}
    assert large == {}


# Written so that this file does not hold what it looks for.
FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.}])/(?:home|root|work|Users|tmp)/\w",
    "a registry's host": r"py"
    r"pi\.org|python"
    r"hosted\.org|py"
    r"torch\.org|npm"
    r"js\.(?:org|com)|deb"
    r"ian\.org"
    r"|pi"
    r"wheels\.org|ana"
    r"conda\.org|(?:index|extra-index)-"
    r"url",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_file_holds(what: str) -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in re.finditer(FORBIDDEN[what], text)]
    assert found == []


def test_the_search_finds_what_it_looks_for() -> None:
    paths, hosts = FORBIDDEN.values()
    assert all(re.search(paths, f" {text}") for text in ("/" + "home/kim", "/" + "tmp/x", "/" + "root/a"))
    assert not any(
        re.search(paths, text) for text in ("--home-dir /var/lib", "$tmp/x", "${X}/" + "tmp/x", "a/" + "tmp/x")
    )
    assert re.search(hosts, "https://py" + "pi.org/simple")
