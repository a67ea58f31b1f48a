"""What a person reads in the Temporal UI under "Current details": markdown from a status, pure.

Set by workflows after each report. Traps of that page (measured): quotes outside code turn curly, raw HTML is
rendered, text above 16 KB is slow; so foreign text goes into code spans, and everything is bounded.
"""

from collections.abc import Mapping, Sequence

from operation_engine.domain.decisions import Awaited, to_send
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, Step, StepState
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep, RestoreStep

MAX_DETAILS = 16_000
_EYE_CATCHING = (StepState.RUNNING, StepState.WAITING, StepState.FAILED)
BEGINNING = ""
"""Among the events to reset to: where everything is done anew."""
_REPEATABLE = frozenset(
    {
        BackupStep.VERIFY,
        RestoreStep.VERIFY_CONTENTS,
        RestoreStep.VERIFY_WORKLOADS,
        RestoreStep.VERIFY_VOLUMES,
        RestoreStep.VERIFY_HTTP,
    }
)
"""Steps that only look: a Reset to one of them repeats it alone. Whatever fails before them takes another attempt."""
_AGAIN = "This Operation has ended. To try again, apply its manifest, mended, under another name."


def current_details(
    status: OperationStatus, refusals: Sequence[str] = (), events: Mapping[str, int] | None = None
) -> str:
    """Refused Signals first, then phase and reason, the message, what to do, the outputs and the steps.

    `events` tells for each step, by name, the event of this history that the run can be reset to for that step.
    """
    parts = [
        *(f"**{_code(refusal)}**" for refusal in refusals),
        _headline(status),
        _code(status.message) if status.message else "",
        _how_to_try_again(status, events or {}) if status.phase == Phase.FAILED else "",
        _AGAIN if status.phase == Phase.CANCELLED else "",
        _how_to_decide(status, events or {}) if status.reason == Reason.AWAITING_DECISION else "",
        _outputs(status),
        "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(status.steps, 1)),
        "Press R to refresh.",
    ]
    return "\n\n".join(part for part in parts if part)[:MAX_DETAILS]


def fenced_details(message: str) -> str:
    """A run that has no claim: what it shows of the Operation is not to be taken for the truth."""
    return f"**Fenced**\n\n{_code(message)}\n\nThe Operation's own status (kubectl) tells how it stands."


def _how_to_decide(status: OperationStatus, events: Mapping[str, int]) -> str:
    payload = to_send(Awaited(attempt=status.attempt))
    only = _only_the_failed_step(status, events)
    return (
        "Repair the cause, then **More Actions > Send an Update > Name: retry** (or abort), with this as Data:"
        f"\n\n```json\n{payload}\n```"
        + (f"\n\nWithout another attempt: **More Actions > Reset**{only}." if only else "")
    )


def _how_to_try_again(status: OperationStatus, events: Mapping[str, int]) -> str:
    """A Reset helps where the manifest was right and something else was not: the list of that dialog has no names."""
    if BEGINNING not in events:
        return _AGAIN
    everything = f" to event `{events[BEGINNING]}` does everything anew, as another attempt"
    only = _only_the_failed_step(status, events)
    return (
        f"{_AGAIN} Where something else was at fault and is repaired, **Reset**{everything}"
        f"{f';{only}' if only else ''}. Leave out Signals and Updates: they would decide again."
    )


def _only_the_failed_step(status: OperationStatus, events: Mapping[str, int]) -> str:
    failed = next((step.name for step in status.steps if step.state == StepState.FAILED), "")
    if failed not in _REPEATABLE or failed not in events:
        return ""
    return f" to event `{events[failed]}` repeats {failed} alone"


def _headline(status: OperationStatus) -> str:
    reason = f" · {_code(status.reason)}" if status.reason else ""
    attempt = f" · attempt {status.attempt}" if status.attempt else ""
    return f"**{status.phase}**{reason}{attempt}"


def _step(step: Step) -> str:
    """A list, not a table: that page is narrow, and its tables have no space between columns."""
    line = f"{step.name} · {step.state}{_when(step)}"
    if step.state in _EYE_CATCHING:
        line = f"**{line}**"
    # The backslash ends the line, and the indentation keeps the message in its item.
    return f"{line}\\\n   {_code(step.message)}" if step.message else line


def _when(step: Step) -> str:
    """How long an ended step took; since when another one has been going on."""
    if step.started_at is None:
        return ""
    if step.finished_at is None:
        return f" since {step.started_at:%H:%M:%S} UTC"
    return f" in {(step.finished_at - step.started_at).total_seconds():.1f} s"


def _outputs(status: OperationStatus) -> str:
    if status.outputs is None:
        return ""
    values = {k: v for k, v in status.outputs.to_api().items() if isinstance(v, str)}
    return "\n".join(f"- {key}: {_code(value)}" for key, value in values.items())


def _code(text: str) -> str:
    """Foreign text as a code span: nothing in it is markup."""
    safe = text.replace("`", "'").replace("|", "/").replace("\n", " ").replace("\r", " ")
    return f"`{safe}`"
