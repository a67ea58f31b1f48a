"""What a person reads in the Temporal UI under "Current details": markdown from a status, pure.

Set by workflows after each report. Traps of that page (measured): quotes outside code turn curly, raw HTML is
rendered, text above 16 KB is slow; so foreign text goes into code spans, and everything is bounded.
"""

from collections.abc import Sequence

from operation_engine.domain.decisions import Awaited, to_send
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, Step, StepState
from operation_engine.domain.resources.reasons import Reason

MAX_DETAILS = 16_000
_EYE_CATCHING = (StepState.RUNNING, StepState.WAITING, StepState.FAILED)
_AGAIN = (
    "This Operation has ended and does not run again. To try again, apply its manifest, mended, under another name."
)


def current_details(status: OperationStatus, refusals: Sequence[str] = ()) -> str:
    """Refused Signals first, then phase and reason, the message, what to do, the outputs and the steps."""
    parts = [
        *(f"**{_code(refusal)}**" for refusal in refusals),
        _headline(status),
        _code(status.message) if status.message else "",
        _AGAIN if status.phase in (Phase.FAILED, Phase.CANCELLED) else "",
        _how_to_decide(status) if status.reason == Reason.AWAITING_DECISION else "",
        _outputs(status),
        "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(status.steps, 1)),
        "Press R to refresh.",
    ]
    return "\n\n".join(part for part in parts if part)[:MAX_DETAILS]


def _how_to_decide(status: OperationStatus) -> str:
    payload = to_send(Awaited(attempt=status.attempt))
    return (
        "Repair the cause, then **More Actions > Send an Update > Name: retry** (or abort), with this as Data:"
        f"\n\n```json\n{payload}\n```"
    )


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
