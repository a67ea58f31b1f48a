"""What a person types and what it means: each nonsense is one sentence with the JSON to send."""

import json
from typing import Any

import pytest
from support.values import NOW, REF

from operation_engine.domain import decisions
from operation_engine.domain.decisions import Answer, Awaited, Refused, Verb
from operation_engine.domain.resources.reasons import Reason

SECOND = Awaited(attempt=2)
DECIDED = Answer(verb=Verb.RETRY, attempt=1, by="unverified:ann")

NONSENSE: dict[str, tuple[Any, str]] = {
    "nothing": (None, "Nothing was sent"),
    "a word": ("retry", '"retry" was sent'),
    "a list": ([2], "[2] was sent"),
    "no attempt": ({}, '"attempt" must be a number'),
    "a misspelt attempt": ({"attemt": 2}, '"attempt" must be a number'),
    "a word for a number": ({"attempt": "two"}, '"attempt" must be a number'),
    "a truth for a number": ({"attempt": True}, '"attempt" must be a number'),
    "half an attempt": ({"attempt": 1.5}, '"attempt" must be a number'),
    "digits of another script": ({"attempt": "٢"}, '"attempt" must be a number'),
    "a past attempt": ({"attempt": 1}, "Attempt 1 does not wait for a decision: attempt 2 does"),
    "a future attempt": ({"attempt": 3}, "Attempt 3 does not wait"),
    "a key of no meaning": ({"attempt": 2, "force": True}, "'force' means nothing here"),
    "a name that is none": ({"attempt": 2, "by": 7}, '"by" must be a name'),
    "something to skip": ({"attempt": 2, "skip": "SafetyBackup"}, "nothing can be skipped now"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_one_sentence_with_the_json_to_send(what: str) -> None:
    payload, says = NONSENSE[what]
    with pytest.raises(Refused) as refused:
        decisions.read(Verb.RETRY, payload, SECOND, DECIDED)
    text = str(refused.value)
    assert says in text
    assert json.loads(text.partition("Send: ")[2]) == {"attempt": 2}


def test_endless_nonsense_stays_short() -> None:
    for payload in ("x" * 100_000, {"x" * 100_000: 1, "attempt": 2}, {"attempt": "9" * 100_000}):
        with pytest.raises(Refused) as refused:
            decisions.read(Verb.RETRY, payload, SECOND, None)
        assert len(str(refused.value)) < 400


@pytest.mark.parametrize("attempt", [2, "2"])
def test_a_decision_names_the_attempt_that_is_asked_about(attempt: Any) -> None:
    answer = decisions.read(Verb.ABORT, {"attempt": attempt, "by": "ann"}, SECOND, DECIDED)
    assert answer == Answer(verb=Verb.ABORT, attempt=2, by="unverified:ann")
    assert decisions.read(Verb.RETRY, {"attempt": attempt}, SECOND, None).by == "unverified:somebody"


def test_what_is_not_asked_cannot_be_answered() -> None:
    with pytest.raises(Refused, match=r"does not wait for a decision now\.$"):
        decisions.read(Verb.RETRY, {"attempt": 1}, None, None)
    with pytest.raises(Refused, match="The last one was retry of attempt 1, by unverified:ann"):
        decisions.read(Verb.ABORT, {"attempt": 1}, None, DECIDED)


def test_a_failed_safety_backup_can_be_skipped_by_a_retry_and_nothing_else_can() -> None:
    question = decisions.awaited(Reason.SAFETY_BACKUP_FAILED, 1)
    assert decisions.read(Verb.RETRY, {"attempt": 1, "skip": "SafetyBackup"}, question, None).skip == "SafetyBackup"
    for verb, skip in ((Verb.ABORT, "SafetyBackup"), (Verb.RETRY, "Verify"), (Verb.RETRY, ["SafetyBackup"])):
        with pytest.raises(Refused, match="only SafetyBackup can be skipped"):
            decisions.read(verb, {"attempt": 1, "skip": skip}, question, None)
    assert decisions.awaited(Reason.VELERO_RESTORE_FAILED, 1).may_skip == ()


def test_the_same_decision_twice_counts_once() -> None:
    assert decisions.counted_already(Verb.RETRY, {"attempt": 1}, DECIDED)
    assert decisions.counted_already(Verb.RETRY, {"attempt": "1"}, DECIDED)
    assert not decisions.counted_already(Verb.ABORT, {"attempt": 1}, DECIDED)
    assert not decisions.counted_already(Verb.RETRY, {"attempt": 2}, DECIDED)
    assert not decisions.counted_already(Verb.RETRY, None, DECIDED)
    assert not decisions.counted_already(Verb.RETRY, {"attempt": 1}, None)


@pytest.mark.parametrize(
    ("reason", "attempt", "asked"),
    [
        (Reason.VELERO_RESTORE_PARTIALLY_FAILED, 1, True),
        (Reason.NOTHING_RESTORED, 49, True),
        (Reason.NOTHING_RESTORED, 50, False),
        (Reason.TIMEOUT, 0, False),
        (Reason.VALIDATION_FAILED, 1, False),
        (Reason.VELERO_RESTORE_VALIDATION_FAILED, 1, False),
        (Reason.ABORTED_BY_USER, 1, False),
    ],
)
def test_failed_work_is_for_a_person_and_a_verdict_on_the_manifest_is_not(
    reason: Reason, attempt: int, asked: bool
) -> None:
    assert decisions.asks_a_person(reason, attempt) is asked


def test_the_question_says_what_failed_and_how_to_go_on_and_fits_a_status() -> None:
    text = decisions.question(REF, Reason.VELERO_RESTORE_FAILED, "disk full " * 200, 3)
    assert text.startswith("Attempt 3 failed (VeleroRestoreFailed): disk full")
    assert "kubectl annotate operation nightly -n shop ops.vworkspace.io/retry=3 --overwrite" in text
    assert len(text.encode()) <= 1024
    long = REF.model_copy(update={"name": "n" * 63, "namespace": "s" * 63})
    assert "ops.vworkspace.io/abort=3" in decisions.question(long, Reason.VELERO_RESTORE_PARTIALLY_FAILED, "ü" * 999, 3)
    assert len(decisions.question(long, Reason.VELERO_RESTORE_PARTIALLY_FAILED, "ü" * 999, 3).encode()) <= 1024


def test_the_status_keeps_who_decided_what() -> None:
    kept = decisions.recorded(DECIDED, NOW)
    assert (kept.attempt, kept.by, kept.verb, kept.at) == (1, "unverified:ann", "retry", NOW)
