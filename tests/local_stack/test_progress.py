"""What a person sees while they wait."""

import io
from types import SimpleNamespace

import pytest

from local_cluster import progress
from local_cluster.progress import Printed, spoken


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (80, "1m20s"), (600, "10m00s")])
def test_time_is_spoken_shortly(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_without_a_terminal_every_line_is_plain_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), iter([0.0, 1.0, 14.0, 15.0, 20.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    printed = Printed(stream)
    printed.waiting(["etcd"], 1)
    printed.ready("etcd", 1.25)
    activity = printed.activity("[2/4] building kubernetes")
    for _ in range(4):
        activity.tick()
    activity.done(80)
    assert stream.getvalue().splitlines() == [
        "  etcd                     ready    1.2 s",
        "[2/4] building kubernetes …",
        "[2/4] building kubernetes … 15s",
        "[2/4] building kubernetes: done in 1m20s",
    ]


def test_on_a_terminal_waiting_is_overwritten_by_what_comes_next() -> None:
    stream = Terminal()
    printed = Printed(stream)
    printed.waiting(["kwok", "velero"], 2)
    printed.ready("kwok", 3)
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines[1] == "  waiting for kwok, velero … 2 s"
    assert lines[2] == "  kwok                     ready    3.0 s\n"
