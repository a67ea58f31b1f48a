"""What makes a folder ours, and what happens to it."""

from pathlib import Path

import pytest

import local_cluster.state as kept
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.layout import LONGEST_STATE_DIR, Layout
from local_cluster.state import Phase


def test_every_cluster_has_secrets_of_its_own() -> None:
    one, two = kept.new({}), kept.new({})
    assert one.id != two.id
    assert not set(one.tokens.values()) & set(two.tokens.values())
    assert len(set(one.tokens.values())) == len(kept.USERS)
    assert one.s3_secret_key != two.s3_secret_key


def test_state_comes_back_as_it_was_saved_and_is_nobody_elses(tmp_path: Path) -> None:
    layout, state = Layout.of(tmp_path), kept.new({"etcd": 20_000})
    kept.save(layout, state)
    assert kept.load(layout) == state
    assert layout.state_file.stat().st_mode & 0o077 == 0


def test_no_state_is_no_cluster(tmp_path: Path) -> None:
    assert kept.load(Layout.of(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{}", '{"kind": "other"}', "[]"])
def test_an_unreadable_state_is_left_to_the_person(tmp_path: Path, text: str) -> None:
    layout = Layout.of(tmp_path)
    layout.state_file.write_text(text)
    with pytest.raises(LocalClusterError, match=r"cannot be read as the description of a local cluster"):
        LocalCluster(tmp_path).up(node="kwok", fresh=True)
    assert layout.state_file.read_text() == text


@pytest.mark.parametrize("fresh", [False, True])
def test_a_foreign_folder_is_neither_used_nor_wiped(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LocalClusterError, match=r"holds thesis.txt and is not the folder of a local cluster"):
        LocalCluster(tmp_path).up(node="kwok", fresh=fresh)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_foreign_folder_is_not_touched_by_the_other_commands(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    cluster = LocalCluster(tmp_path)
    cluster.down()
    for call in (lambda: cluster.start("etcd"), lambda: cluster.run("x", ["true"]), cluster.env):
        with pytest.raises(LocalClusterError, match=r"There is no local cluster in .*vop local up"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_killed_first_up_leaves_is_harmless(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    layout.lock.write_text("1")
    (tmp_path / ".cluster.json.77.tmp").write_text("{")
    kept.require_ours(layout)


def test_a_wipe_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    layout, state = Layout.of(tmp_path), kept.new({})
    kept.save(layout, state)
    layout.lock.touch()
    layout.data("etcd").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/etc")
    kept.wipe(layout, state)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_wipe_is_announced_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, state = Layout.of(tmp_path), kept.new({})
    kept.save(layout, state)
    monkeypatch.setattr(kept, "empty_folder", lambda *_, **__: None)
    kept.wipe(layout, state)
    loaded = kept.load(layout)
    assert loaded is not None
    assert loaded.phase is Phase.WIPING


def test_a_path_too_long_for_unix_sockets_is_refused() -> None:
    long = "/tmp/" + "x" * LONGEST_STATE_DIR
    with pytest.raises(LocalClusterError, match=r"has a path of 85 bytes, .* shorter one with --state-dir"):
        LocalCluster(long).up(node="kwok")
    assert not Path(long).exists()


@pytest.mark.parametrize(("name", "named"), [("a,b", "','"), ("a:b", "':'"), ('a"b', "'\"'"), ("a\nb", r"'\\n'")])
def test_a_path_that_mounts_or_settings_cannot_hold_is_refused(tmp_path: Path, name: str, named: str) -> None:
    with pytest.raises(LocalClusterError, match=rf"has {named} in its path, .* another one with --state-dir"):
        LocalCluster(tmp_path / name).up(node="kwok")
    assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_made_is_said() -> None:
    with pytest.raises(LocalClusterError, match=r"Cannot write /dev/null/x: .*; choose a folder that is yours"):
        LocalCluster("/dev/null/x").up(node="kwok")


def test_a_state_dir_is_one_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Layout.of(tmp_path / "link" / ".." / "real") == Layout.of(tmp_path / "link")
