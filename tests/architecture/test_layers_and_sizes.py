"""The rooms of the house: who may import whom, how large things may grow, what linters and mypy say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROOMS = ("operation_engine", "workflows", "activities", "controller")
FUNCTION_LINES, MOST_FUNCTIONS, MEDIAN_LINES, FILE_LINES = 60, 35, 12, 400


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def functions(code: str) -> Iterator[tuple[str, int]]:
    """Each function of a module with its length in lines, decorators left out."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def test_everybody_imports_only_downwards() -> None:
    done = run("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout


def test_an_import_upwards_would_be_noticed(tmp_path: Path) -> None:
    for room, code in {"low": "import high\n", "high": ""}.items():
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(code)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_packages = ["low", "high"]\n'
        '[[tool.importlinter.contracts]]\nname = "order"\ntype = "layers"\nlayers = ["high", "low"]\n'
    )
    done = run("lint-imports", "--no-cache", cwd=tmp_path)
    assert done.returncode != 0
    assert "low -> high" in done.stdout


@pytest.mark.parametrize("room", ["workflows", "activities", "controller"])
def test_a_room_s_door_is_empty(room: str) -> None:
    """What an __init__ imports, every workflow's sandbox would load."""
    assert (ROOT / room / "__init__.py").read_text() == ""


@pytest.mark.parametrize("room", ROOMS)
def test_the_installed_packages_are_this_project_s(room: str) -> None:
    spec = find_spec(room)
    assert spec is not None
    assert Path(spec.origin or "").parent == ROOT / room
    assert "Private :: Do Not Upload" in (
        distribution("vworkspace-operation-engine").metadata.get_all("Classifier") or []
    )


@pytest.mark.parametrize("path", sources(*ROOMS, "local_cluster", "tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_sitting(path: Path) -> None:
    code = path.read_text()
    assert len(code.splitlines()) <= FILE_LINES
    assert [name for name, lines in functions(code) if lines > FUNCTION_LINES] == []


@pytest.mark.parametrize("rooms", [ROOMS, ("local_cluster",)], ids=["product", "local cluster"])
def test_most_functions_are_small(rooms: tuple[str, ...]) -> None:
    lengths = [lines for path in sources(*rooms) for _, lines in functions(path.read_text())]
    assert median(lengths) <= MEDIAN_LINES
    assert sum(lines < MOST_FUNCTIONS for lines in lengths) >= 0.9 * len(lengths)


def test_a_function_s_length_is_measured_from_its_first_line_to_its_last() -> None:
    assert list(functions("@x\ndef f():\n    return (\n        1\n    )\n")) == [("f", 4)]


def test_mypy_has_nothing_to_say() -> None:
    done = run("mypy")
    assert done.returncode == 0, done.stdout


def test_ruff_has_nothing_to_say() -> None:
    done = run("ruff", "check", "--output-format=concise", "--no-cache")
    assert done.returncode == 0, done.stdout


def test_the_format_is_ruff_s() -> None:
    done = run("ruff", "format", "--check", "--no-cache")
    assert done.returncode == 0, done.stdout
