"""Board profiles say what exists, refuse what is mistyped, and recognise the machine they describe."""

from __future__ import annotations

import shutil
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from myosem_edge.boards.profiles import FOLDER, Board, board, detect_board, load_boards
from myosem_edge.errors import InputError

PIS = ("pi_zero_2w", "pi_3b_plus", "pi_4", "pi_5")
MODELS = {
    "Raspberry Pi Zero 2 W Rev 1.0": "pi_zero_2w",
    "Raspberry Pi Zero 2 Rev 1.0": "pi_zero_2w",
    "Raspberry Pi 3 Model B Plus Rev 1.3": "pi_3b_plus",
    "Raspberry Pi 4 Model B Rev 1.5": "pi_4",
    "Raspberry Pi 5 Model B Rev 1.0": "pi_5",
}
STRANGERS = (
    "Raspberry Pi Zero W Rev 1.1",
    "Raspberry Pi 3 Model B Rev 1.2",
    "Raspberry Pi 400 Rev 1.0",
    "Raspberry Pi Compute Module 4 Rev 1.1",
    "NVIDIA Jetson Nano Developer Kit",
)


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def cpuinfo(part: str, model: str = "", cores: int = 4) -> str:
    text = "".join(f"processor\t: {i}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n" for i in range(cores))
    return text + (f"Revision\t: c03115\nModel\t\t: {model}\n" if model else "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the profiles, to be spoilt."""
    copy = tmp_path / "boards"
    copy.mkdir()
    for path in FOLDER.glob("*.toml"):
        shutil.copy(path, copy)
    return copy


def spoil(folder: Path, name: str, old: str, new: str) -> Path:
    text = (folder / name).read_text()
    assert text.count(old) >= 1, f"{old!r} is not in {name}: the test is out of date"
    (folder / name).write_text(text.replace(old, new, 1))
    return folder


class TestFacts:
    def test_these_boards_exist(self) -> None:
        assert set(load_boards()) == {*PIS, "pc"}

    @pytest.mark.parametrize(
        ("name", "soc", "part", "clock_mhz"),
        [
            ("pi_zero_2w", "BCM2710A1", "0xd03", 1000),
            ("pi_3b_plus", "BCM2837B0", "0xd03", 1400),
            ("pi_4", "BCM2711", "0xd08", 1800),
            ("pi_5", "BCM2712", "0xd0b", 2400),
        ],
    )
    def test_the_processor(self, name: str, soc: str, part: str, clock_mhz: int) -> None:
        cpu = board(name).cpu
        assert soc in cpu.soc and (cpu.part, max(cpu.clock_mhz), cpu.cores) == (part, clock_mhz, 4)
        assert cpu.omp_threads == 1

    @pytest.mark.parametrize("name", PIS)
    def test_the_runtimes_that_can_be_installed(self, name: str) -> None:
        def packages(architecture: str, python: str, glibc: str = "") -> list[str]:
            return [runtime.package for runtime in board(name).runtimes_for(architecture, python, glibc)]

        everything = ["onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy"]
        assert packages("aarch64", "3.11") == everything
        assert packages("aarch64", "3.13") == ["onnxruntime", "ai-edge-litert", "numpy"]
        assert packages("aarch64", "3.10") == []
        assert packages("armv7l", "3.11", "2.36") == ["tflite-runtime", "numpy"]
        assert packages("armv7l", "3.11", "2.34") == ["tflite-runtime", "numpy"]
        assert packages("armv7l", "3.11", "2.31") == ["numpy"]
        assert packages("armv7l", "3.13") == ["numpy"], "32-bit Trixie: nothing but the reference"
        assert packages("x86_64", "3.11") == [], "the board does not come in this architecture"

    def test_tflite_runtime_and_numpy_2_exclude_each_other(self) -> None:
        below = {runtime.package: runtime.numpy_below for runtime in board("pi_4").runtimes}
        assert below == {"onnxruntime": 0, "ai-edge-litert": 0, "tflite-runtime": 2, "numpy": 0}

    @pytest.mark.parametrize("name", ("pi_zero_2w", "pi_3b_plus", "pi_4"))
    def test_bluetooth_has_the_better_uart_and_the_console_the_other(self, name: str) -> None:
        good, mini = board(name).uart("/dev/ttyAMA0"), board(name).uart("/dev/ttyS0")
        assert good and mini and (good.kind, mini.kind) == ("PL011", "mini UART")
        assert "Bluetooth" in good.by_default and "dtoverlay=disable-bt" in good.config
        assert "console" in mini.by_default and "core clock" in mini.notes[0]
        assert mini.max_baud <= 115200 < good.max_baud

    def test_pi_4_has_six_uarts_and_pi_5_a_debug_connector(self) -> None:
        assert [uart.name for uart in board("pi_4").uarts] == [f"UART{i}" for i in range(6)]
        header, debug = board("pi_5").uarts
        assert (header.device, header.config) == ("/dev/ttyAMA0", ("dtoverlay=uart0-pi5",))
        assert debug.device == "/dev/ttyAMA10" and "debug connector" in debug.pins

    @pytest.mark.parametrize("name", (*PIS, "pc"))
    @pytest.mark.sr("SR-15")
    def test_a_hop_fits_into_a_tick_and_leaves_the_wearer_the_rest(self, name: str) -> None:
        profile = board(name)
        assert (profile.rule.hop_ms, profile.rule.tick_ms) == (25.0, 20.0)
        assert profile.delay.total_ms <= profile.rule.tick_ms < profile.rule.hop_ms
        assert profile.delay.total_ms + profile.rule.hop_ms < min(profile.rule.wearer_best_ms)

    @pytest.mark.parametrize("name", PIS)
    def test_slower_cores_get_more_time(self, name: str) -> None:
        encode_ms = [board(pi).delay.encode_ms for pi in PIS]
        assert encode_ms == sorted(encode_ms, reverse=True)

    def test_profiles_cannot_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            board("pi_4").name = "pi_5"  # type: ignore[misc]

    def test_an_unknown_board_names_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"'pi4'.*pi_zero_2w.*Did you mean 'pi_4'"):
            board("pi4")


class TestValidation:
    def test_an_untouched_copy_loads(self, folder: Path) -> None:
        assert load_boards(folder) == load_boards()

    @pytest.mark.parametrize(
        ("name", "old", "new", "message"),
        [
            ("pi_4.toml", "cores = 4", "cors = 4", r"pi_4\.toml: cpu: cores: is missing.*'cors' is there"),
            ("pi_4.toml", "cores = 4", "cores = 4\nclock = 1", r"pi_4\.toml: cpu: clock: .*Did you mean 'clock_mhz'"),
            ("pi_4.toml", "cores = 4", "cores = 0", r"pi_4\.toml: cpu: cores: .*found 0"),
            ("pi_4.toml", "cores = 4", "cores = true", r"cpu: cores: is not a whole number"),
            ("pi_4.toml", "cores = 4", "cores = 4.0", r"cpu: cores: is not a whole number"),
            ("pi_4.toml", "clock_mhz = [1500, 1800]", "clock_mhz = []", r"cpu: clock_mhz: .*with an entry"),
            ("pi_4.toml", "clock_mhz = [1500, 1800]", "clock_mhz = 1500", r"cpu: clock_mhz: is not a list"),
            ("pi_4.toml", 'name = "pi_4"', 'name = "pi_04"', r"pi_4\.toml: name: is not named after its file"),
            ("pi_4.toml", 'kind = "PL011"', 'kind = "PL11"', r"uarts\[0\]: kind: is not known.*Did you mean 'PL011'"),
            ("pi_4.toml", 'device = "/dev/ttyS0"', 'device = "/dev/ttyAMA0"', r"uarts: two share one device"),
            ("pi_4.toml", 'soc = "BCM2711"', 'soc = ""', r"cpu: soc: is not a text"),
            ("pi_4.toml", 'soc = "BCM2711"', "soc = 2711", r"cpu: soc: is not a text"),
            ("pi_4.toml", '"armv7l"]', '"armv7"]', r"architectures: is not known.*Did you mean 'armv7l'"),
            ("pi_4.toml", "total_ms = 5.75", "total_ms = 5.5", r"delay: total_ms: is not the sum.*expected 5\.75"),
            ("pi_4.toml", "read_ms = 1.0", "read_ms = nan", r"delay: read_ms: is not a positive number"),
            ("pi_4.toml", "read_ms = 1.0", "read_ms = 0.0", r"delay: read_ms: is not a positive number"),
            ("pi_4.toml", "budget_mb = 256", "budget_mb = 513", r"memory: budget_mb: is over half.*expected 512"),
            (
                "pi_4.toml",
                "schema = 1",
                "schema = 2",
                r"pi_4\.toml: schema: is of another version.*found 2.*expected 1",
            ),
            ("pi_4.toml", "schema = 1", "schema = [", r"pi_4\.toml: is not a TOML file"),
            ("pi_4.toml", "[memory]", "[[memory]]", r"memory: is not a table"),
            ("pc.toml", "schema = 1", "schema = 1\nuarts = 3", r"pc\.toml: uarts: is not a list of tables"),
            ("common.toml", "tick_ms = 20.0", "tick_ms = 25.5", r"rule: tick_ms: is longer than a hop"),
            ("common.toml", "tick_ms = 20.0", "tick_ms = 5.0", r"delay: total_ms: does not fit into one tick"),
            ("common.toml", "numpy_below = 2", "numpy_beloww = 2", r"runtimes\[2\]: numpy_beloww.*'numpy_below'"),
            ("common.toml", "{ aarch64", "{ arch64", r"runtimes\[0\]: available: arch64.*Did you mean 'aarch64'"),
        ],
    )
    def test_a_mistake_is_named_with_file_table_and_key(
        self, folder: Path, name: str, old: str, new: str, message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            load_boards(spoil(folder, name, old, new))

    def test_the_largest_budget_and_the_longest_hop_that_fit_are_accepted(self, folder: Path) -> None:
        spoil(folder, "pi_4.toml", "budget_mb = 256", "budget_mb = 512")
        spoil(folder, "pi_4.toml", "read_ms = 1.0", "read_ms = 15.25")
        spoil(folder, "pi_4.toml", "total_ms = 5.75", "total_ms = 20.0")
        assert load_boards(folder)["pi_4"].delay.total_ms == 20.0

    def test_what_is_common_has_to_be_there(self, folder: Path) -> None:
        (folder / "common.toml").unlink()
        with pytest.raises(InputError, match=r"common\.toml: cannot be read"):
            load_boards(folder)

    def test_bytes_that_are_no_text(self, folder: Path) -> None:
        (folder / "pi_4.toml").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match=r"pi_4\.toml: is not a TOML file"):
            load_boards(folder)


class TestDetection:
    @pytest.mark.parametrize("model", MODELS)
    def test_by_the_device_tree(self, tmp_path: Path, model: str) -> None:
        expected = board(MODELS[model])
        root = plant(
            tmp_path,
            {
                "proc/device-tree/model": model + "\0",
                "proc/cpuinfo": cpuinfo(expected.cpu.part),
                "proc/meminfo": "MemTotal:         948000 kB\nMemFree: 1 kB\n",
            },
        )
        found = detect_board(root, machine="aarch64", pointer_bits=64)
        assert (found.board, found.model, found.found_by) == (expected, model, "device tree")
        assert (found.cores, found.cpu_part, found.memory_mb) == (4, expected.cpu.part, 925)

    @pytest.mark.parametrize("model", MODELS)
    def test_by_cpuinfo_where_the_device_tree_is_hidden(self, tmp_path: Path, model: str) -> None:
        root = plant(tmp_path, {"proc/cpuinfo": cpuinfo("0xd08", model)})
        found = detect_board(root, machine="aarch64", pointer_bits=64)
        assert (found.board, found.found_by) == (board(MODELS[model]), "/proc/cpuinfo")

    @pytest.mark.parametrize("model", STRANGERS)
    def test_a_board_without_a_profile_is_not_taken_for_another(self, tmp_path: Path, model: str) -> None:
        found = detect_board(plant(tmp_path, {"proc/device-tree/model": model + "\0"}), machine="aarch64")
        assert found.board is None and found.model == model

    @pytest.mark.parametrize(("machine", "expected"), [("x86_64", "pc"), ("aarch64", "pc"), ("riscv64", None)])
    def test_a_machine_without_a_device_tree_is_a_computer(
        self, tmp_path: Path, machine: str, expected: str | None
    ) -> None:
        found: Board | None = detect_board(tmp_path, machine=machine, pointer_bits=64).board
        assert (found.name if found else None) == expected

    @pytest.mark.parametrize(
        ("machine", "pointer_bits", "architecture"),
        [
            ("aarch64", 64, "aarch64"),
            ("arm64", 64, "aarch64"),
            ("aarch64", 32, "armv7l"),
            ("armv8l", 32, "armv7l"),
            ("armv7l", 32, "armv7l"),
            ("armv6l", 32, "armv6l"),
            ("AMD64", 64, "x86_64"),
        ],
    )
    def test_packages_follow_the_python_and_not_the_kernel(
        self, tmp_path: Path, machine: str, pointer_bits: int, architecture: str
    ) -> None:
        found = detect_board(tmp_path, machine=machine, pointer_bits=pointer_bits)
        assert (found.machine, found.architecture) == (machine, architecture)

    def test_an_empty_or_damaged_proc_tells_nothing_and_raises_nothing(self, tmp_path: Path) -> None:
        found = detect_board(plant(tmp_path, {"proc/meminfo": "MemTotal: much kB\n", "proc/cpuinfo": "::\n"}))
        assert (found.cores, found.cpu_part, found.memory_mb, found.model) == (0, "", 0, "")


class TestPage:
    """docs/boards.md repeats numbers of the profiles; they have to be the same."""

    PAGE = Path(__file__).parents[2] / "docs" / "boards.md"

    @pytest.mark.parametrize("name", PIS)
    def test_the_delays(self, name: str) -> None:
        delay = board(name).delay
        stages = (delay.read_ms, delay.filter_ms, delay.encode_ms, delay.match_and_gate_ms, delay.write_ms)
        row = " | ".join([f"`{name}`", *(f"{ms:g}" for ms in (*stages, delay.total_ms))])
        assert f"| {row} |" in self.PAGE.read_text()

    @pytest.mark.parametrize("name", (*PIS, "pc"))
    def test_every_board_and_every_uart_is_listed(self, name: str) -> None:
        page, profile = self.PAGE.read_text(), board(name)
        assert f"| `{name}` |" in page
        for uart in profile.uarts:
            numbered = f"/dev/ttyAMA{uart.name[-1]}" == uart.device and uart.name in ("UART3", "UART4", "UART5")
            assert numbered or f"`{uart.device}`" in page, uart.device
            assert numbered or all(f"`{line}`" in page for line in uart.config), uart.config
