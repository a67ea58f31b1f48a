"""What an Operation would do: a plan as a value, and as text for people. Pure.

Made by `activities.planning` for `vop plan` and for `spec.policy.dryRun`; the fates of objects: `domain.restore_plan`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import groupby

from operation_engine.domain.admission import PASS, Answer, Gate
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import OperationType

MAX_OBJECTS = 1000
"""Objects that a plan carries through Temporal, whose payloads are bounded; counts are of all."""
_MAX_LINE = 3


class Fate(StrEnum):
    """What would become of one object."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    KEEP = "keep"
    LEAVE_OUT = "leave out"
    UNKNOWN = "unknown"
    BACK_UP = "back up"


WORDS: Mapping[Fate, str] = {
    Fate.CREATE: "created",
    Fate.UPDATE: "changed where they differ",
    Fate.REPLACE: "deleted and created anew",
    Fate.DELETE: "deleted",
    Fate.KEEP: "left as they are",
    Fate.LEAVE_OUT: "not brought back",
    Fate.UNKNOWN: "unknown",
    Fate.BACK_UP: "backed up",
}


class PlannedObject(ApiModel):
    """One object, by the names of Velero's resource lists; the namespace is the one restored into."""

    kind: str
    namespace: str | None = None
    name: str
    fate: Fate
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind.rpartition('/')[2]} {self.name}"


class PlannedStep(ApiModel):
    """One step of the workflow, and what it would do."""

    name: str
    message: str
    would_run: bool = True


class Plan(ApiModel):
    """All of it. A verdict that does not pass tells why it would not go through."""

    operation: str
    type: OperationType
    verdict: Gate = PASS
    fails_at: str | None = None
    """The step that the Operation would not pass."""
    source: str | None = None
    destination: str | None = None
    backup_name: str | None = None
    storage_location: str | None = None
    steps: tuple[PlannedStep, ...] = ()
    objects: tuple[PlannedObject, ...] = ()
    counts: Mapping[str, int] = {}
    """Objects by fate, those too that a bounded plan does not carry."""
    cannot_tell: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        return self.fails_at is not None

    @property
    def waits(self) -> bool:
        return self.verdict.answer == Answer.WAIT

    @property
    def summary(self) -> str:
        """One sentence, for a status."""
        what = told(self.counts) or "no object is known of"
        return f"Dry run, nothing was done. It would {_verb(self)}: {what}."

    def bounded(self) -> "Plan":
        """As much of it as goes through Temporal; what happens to something before what does not."""
        first = sorted(self.objects, key=lambda item: item.fate in (Fate.LEAVE_OUT, Fate.KEEP))[:MAX_OBJECTS]
        return self.model_copy(update={"objects": tuple(first)})


def counted(objects: Iterable[PlannedObject]) -> dict[str, int]:
    """Objects by fate."""
    return {str(fate): count for fate, count in Counter(item.fate for item in objects).items()}


def told(counts: Mapping[str, int]) -> str:
    """Counts in words, in the order in which they matter."""
    return ", ".join(f"{counts[fate]} {words}" for fate, words in WORDS.items() if counts.get(fate))


def named(objects: Sequence[PlannedObject], *fates: Fate, most: int = 5) -> str:
    """The first objects of these fates."""
    found = [str(item) for item in objects if item.fate in fates]
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def render(plan: Plan) -> str:
    """The plan as text: steps, then objects by fate and kind, then what cannot be told."""
    parts = [_head(plan), *_steps(plan), *_objects(plan)]
    if plan.cannot_tell:
        parts += ["", "What cannot be told beforehand:", *(f"  - {line}" for line in plan.cannot_tell)]
    return "\n".join([*parts, "", _verdict(plan)])


def _head(plan: Plan) -> str:
    return f"Operation {plan.operation} ({plan.type}) would do this; nothing has been done.\n\nSteps:"


def _steps(plan: Plan) -> list[str]:
    width = max((len(step.name) for step in plan.steps), default=0)
    return [f"  {_mark(plan, step)} {step.name:<{width}}  {step.message}" for step in plan.steps]


def _mark(plan: Plan, step: PlannedStep) -> str:
    if step.name == plan.fails_at:
        return "STOP"
    return "run " if step.would_run else "skip"


def _objects(plan: Plan) -> list[str]:
    if not plan.counts:
        return []
    lines = ["", f"Objects: {told(plan.counts)}."]
    ordered = sorted(plan.objects, key=lambda o: (list(WORDS).index(o.fate), o.kind, o.why, o.name))
    for (fate, kind, why), group in groupby(ordered, key=lambda o: (o.fate, o.kind, o.why)):
        names = ", ".join(item.name for item in group)
        lines.append(f"  {fate:<9} {kind.rpartition('/')[2]} {names}{f' ({why})' if why else ''}")
    return lines


def _verdict(plan: Plan) -> str:
    if plan.is_refused:
        is_told = any(step.message == plan.verdict.message for step in plan.steps)
        why = "" if is_told else f" {plan.verdict.message}"
        return f"It would NOT go through: {plan.verdict.reason}, at {plan.fails_at}.{why}"
    if plan.waits:
        return f"It would wait: {plan.verdict.reason}. {plan.verdict.message}"
    return f"It would go through, as far as can be told: {told(plan.counts) or 'no object is known of'}."


def _verb(plan: Plan) -> str:
    if plan.type == OperationType.BACKUP:
        return f"back up namespace {plan.source}"
    return bounded(f"restore Velero Backup {plan.backup_name} into namespace {plan.destination}", 400)
