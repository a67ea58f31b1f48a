"""The very backup that a Restore settled on, told from its namesakes."""

from datetime import UTC, datetime, timedelta

import pytest

from operation_engine.domain import pinned
from operation_engine.domain.pinned import Pinned
from operation_engine.domain.resources.operation_status import Outputs
from operation_engine.domain.velero import BackupObservation

BEGUN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WANTED = Pinned(name="nightly-main-1", uid="u1", started_at="2026-03-01T12:00:00Z")


def backup(uid: str, started_at: datetime | None) -> BackupObservation:
    return BackupObservation(name=WANTED.name, uid=uid, started_at=started_at, storage_location="default")


@pytest.mark.parametrize(
    ("uid", "started_at", "same"),
    [
        ("u1", BEGUN, True),
        ("u1", None, True),
        ("u2", BEGUN, True),  # synced from the bucket
        ("u2", BEGUN.astimezone(tz=datetime.now().astimezone().tzinfo), True),
        ("u2", BEGUN + timedelta(seconds=1), False),
        ("u2", None, False),
    ],
)
def test_a_backup_is_known_by_its_uid_or_by_when_it_was_begun(
    uid: str, started_at: datetime | None, same: bool
) -> None:
    assert pinned.is_same(WANTED, backup(uid, started_at)) == same


def test_where_nothing_is_known_of_its_beginning_only_the_uid_counts() -> None:
    unknown = WANTED.model_copy(update={"started_at": None})
    assert not pinned.is_same(unknown, backup("u2", None))


def test_the_status_names_it_and_keeps_what_else_came_of_the_work() -> None:
    outputs = pinned.pin(Outputs(restore_name="r", backup_name="another"), backup("u1", BEGUN))
    assert pinned.pinned(outputs) == WANTED
    assert (outputs.restore_name, outputs.storage_location) == ("r", "default")


@pytest.mark.parametrize("outputs", [None, Outputs(), Outputs(backup_name="a"), Outputs(backup_uid="u")])
def test_a_status_that_names_none_pins_none(outputs: Outputs | None) -> None:
    assert pinned.pinned(outputs) is None
