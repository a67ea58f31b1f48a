"""The reader of the runbook: what it takes for the same, and that a page that is wrong does not pass."""

import pytest
from support.runbook import Typed, is_shown, typed

PAGE = """# Title

```sh
one
two
```

```text
out
```

words

```yaml
kind: Operation
```

```sh
three
```
"""

SHOWN = """NAME          PHASE       AGE
backup-shop   Succeeded   14s
Velero Backup backup-shop-0e7934a9-main-1 expires 2026-12-23T18:48:06Z
…
41 items, … bytes
"""
REAL = """NAME          PHASE       AGE
backup-shop   Succeeded   2m3s
Velero Backup backup-shop-ffffffff-main-1 expires 2027-01-01T00:00:00Z
this
and that
41 items, 1234 bytes
"""


def test_commands_come_in_order_each_with_what_it_shows() -> None:
    assert typed(PAGE) == [Typed("one\ntwo\n", "out\n"), Typed("three\n")]


@pytest.mark.parametrize("between", ["", "```yaml\na: 1\n```\n"])
def test_output_that_follows_no_commands_is_an_error(between: str) -> None:
    before = "```sh\none\n```\n" if between else ""
    with pytest.raises(ValueError, match="follows no commands"):
        typed(f"{before}{between}```text\nout\n```\n")


def test_ids_times_ages_and_what_is_left_out_may_differ() -> None:
    assert is_shown(REAL, SHOWN)
    assert is_shown(REAL, REAL)


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("Succeeded", "Failed"),
        ("41 items", "42 items"),
        ("backup-shop ", "backup-shop-2 "),
        ("main-1", "main-2"),
        (" bytes", " bytes too many"),
        ("NAME", "A line more\nNAME"),
        ("1234 bytes\n", "1234 bytes\nA line more\n"),
        ("backup-shop   Succeeded   2m3s\n", ""),
        (" expires 2027-01-01T00:00:00Z", ""),
        ("2m3s", "never"),
    ],
)
def test_anything_else_may_not(was: str, instead: str) -> None:
    assert was in REAL
    assert not is_shown(REAL.replace(was, instead), SHOWN)


def test_nothing_printed_is_only_nothing_shown() -> None:
    assert is_shown("\n", "")
    assert not is_shown("", "out\n")
    assert not is_shown("out\n", "")
