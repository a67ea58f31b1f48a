"""requirements.lock installs what pyproject.toml asks for, from anywhere."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = {name: Version(version) for name, version in re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK, re.MULTILINE)}
WANTED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["build-system"]["requires"],
    *(one for group in PROJECT["dependency-groups"].values() for one in group),
]


@pytest.mark.parametrize("wanted", WANTED)
def test_the_lock_pins_what_the_project_asks_for(wanted: str) -> None:
    requirement = Requirement(wanted)
    pinned = PINNED.get(requirement.name.lower().replace("_", "-"))

    assert pinned is not None, f"{wanted} is not in requirements.lock: run `make lock`"
    assert pinned in requirement.specifier, f"requirements.lock has {pinned}, not {wanted}: run `make lock`"


def test_every_pin_has_hashes_and_names_no_host() -> None:
    assert "://" not in LOCK
    for block in re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_every_level_of_the_tests_is_run() -> None:
    levels = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}

    assert levels <= set(PROJECT["tool"]["pytest"]["ini_options"]["testpaths"])
