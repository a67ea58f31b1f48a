"""What a person reads in the Temporal UI under "Current details": markdown from a status, pure.

Set by workflows after each report. Traps of that page (measured): quotes outside code turn curly, raw HTML is
rendered, text above 16 KB is slow; so foreign text goes into code spans, and everything is bounded.
"""

from datetime import datetime

from operation_engine.domain.resources.operation_status import OperationStatus, Step

MAX_DETAILS = 16_000


def current_details(status: OperationStatus) -> str:
    """Phase and reason first, then the message, the outputs and the step table."""
    parts = [
        f"**{status.phase}** · {_code(status.reason or '-')} · attempt {max(status.attempt, 1)}",
        _code(status.message) if status.message else "",
        _outputs(status),
        _table(status),
        "Press R to refresh.",
    ]
    return "\n\n".join(part for part in parts if part)[:MAX_DETAILS]


def _table(status: OperationStatus) -> str:
    rows = ["| Step | State | Started | Took | |", "|---|---|---|---|---|"]
    return "\n".join(rows + [_row(step) for step in status.steps])


def _row(step: Step) -> str:
    message = _code(step.message) if step.message else ""
    return f"| {step.name} | {step.state} | {_clock(step.started_at)} | {_took(step)} | {message} |"


def _outputs(status: OperationStatus) -> str:
    if status.outputs is None:
        return ""
    values = {k: v for k, v in status.outputs.to_api().items() if isinstance(v, str)}
    return "\n".join(f"- {key}: {_code(value)}" for key, value in values.items())


def _clock(moment: datetime | None) -> str:
    return moment.strftime("%H:%M:%S UTC") if moment else ""


def _took(step: Step) -> str:
    if step.started_at is None or step.finished_at is None:
        return ""
    return f"{(step.finished_at - step.started_at).total_seconds():.1f} s"


def _code(text: str) -> str:
    """Foreign text as a code span: nothing in it is markup."""
    safe = text.replace("`", "'").replace("|", "/").replace("\n", " ").replace("\r", " ")
    return f"`{safe}`"
