"""deploy/crds is what the models say, in YAML that Go and Python read alike."""

from pathlib import Path

import pytest
import yaml

from operation_engine.crds.__main__ import FOLDER, main
from operation_engine.crds.definitions import definitions, files, text

RUN = "the models changed: run `python -m operation_engine.crds` and commit deploy/crds"


def test_the_committed_crds_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")}
    assert committed == files(), RUN


def test_the_command_writes_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(tmp_path / "crds")])
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "crds").iterdir()} == files()
    assert capsys.readouterr().out.count(".yaml") == 3


def test_the_files_read_back_as_the_definitions() -> None:
    assert [yaml.safe_load(content) for content in files().values()] == definitions()


def test_a_file_says_how_it_was_made() -> None:
    for content in files().values():
        assert "python -m operation_engine.crds" in content.splitlines()[0]


@pytest.mark.parametrize(
    "word", ["n", "Y", "no", "on", "true", "null", "1e3", "0x10", "1.0", "1:30", "~", "- a", "a: b"]
)
def test_a_string_that_yaml_takes_for_something_else_is_quoted(word: str) -> None:
    (written,) = [line for line in text({"description": word}).splitlines() if line.startswith("description")]
    assert written in {f"description: '{word}'", f'description: "{word}"'}


def test_cluster_is_in_no_category_that_somebody_may_delete_all_of() -> None:
    categories = {d["spec"]["names"]["kind"]: d["spec"]["names"].get("categories") for d in definitions()}
    assert categories == {"Operation": ["vworkspace"], "Cluster": None, "ApplicationInstance": None}
