"""What a user asks for: the spec of an Operation."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import Field

from operation_engine.domain.resources.common import ApiModel, DurationText, ObjectName
from operation_engine.domain.resources.operation_parameters import Parameters
from operation_engine.domain.resources.schema import Keywords, Rule


class OperationType(StrEnum):
    """What is done. Migration, RunCommand and Runbook are accepted and end Failed/UnsupportedOperation."""

    BACKUP = "Backup"
    RESTORE = "Restore"
    UPGRADE = "Upgrade"
    MIGRATION = "Migration"
    RUN_COMMAND = "RunCommand"
    RUNBOOK = "Runbook"


class Engine(StrEnum):
    """Who does it. Only velero (Backup, Restore) and helm (Upgrade) are built."""

    VELERO = "velero"
    HELM = "helm"
    WORKFLOW = "workflow"
    JOB = "job"
    VOLSYNC = "volsync"
    HELM_HOOK_JOB = "helmHookJob"


# Absent in the object stays absent there; this is only how it is read.
DEFAULT_ENGINES: Final = {
    OperationType.BACKUP: Engine.VELERO,
    OperationType.RESTORE: Engine.VELERO,
    OperationType.UPGRADE: Engine.HELM,
}


class PartialFailure(StrEnum):
    """What a backup or restore with failed items counts as."""

    FAIL = "Fail"
    ACCEPT = "Accept"


class TargetRef(ApiModel):
    """What the Operation works on."""

    api_version: Annotated[str, Keywords(min_length=1, max_length=253)] = Field(
        description="API version of the target: apps.vworkspace.io/v1alpha1, or v1 for a Namespace."
    )
    kind: Annotated[str, Keywords(min_length=1, max_length=63)] = Field(
        description="Kind of the target: ApplicationInstance, or Namespace."
    )
    name: ObjectName = Field(
        description="Name of the target, in the Operation's own namespace; for a Namespace that namespace's own name."
    )


class Approvals(ApiModel):
    """Who allows the Operation to run. Changing it needs the verb approve on operations."""

    required: bool | None = Field(
        default=None,
        description="True: the Operation waits for an approval. False counts only where the installation lets the "
        "requester choose.",
    )
    claim: Annotated[str | None, Keywords(max_length=8192)] = Field(
        default=None, description="A signed approval, as Odoo issues it. It approves one Operation, once."
    )
    approved_by: Annotated[str | None, Keywords(max_length=256)] = Field(
        default=None,
        description="The user who approves. Without a claim it counts only where an admission policy guards it.",
    )
    approved_at: Annotated[str | None, Keywords(max_length=64)] = Field(
        default=None, description="When it was approved (RFC 3339)."
    )


class Policy(ApiModel):
    """How patient the Operation is, and what counts as failed."""

    require_ready: bool | None = Field(
        default=None,
        description="Wait until the target is Ready. Default: true for an Upgrade, else false (a broken application is "
        "the one to back up).",
    )
    timeout: DurationText | None = Field(
        default=None,
        description="How long one attempt may work, less the time in Velero's queue. Default: 4h, for an Upgrade 1h.",
    )
    wait_timeout: DurationText | None = Field(
        default=None,
        description="How long each wait may take: an approval, a dependency, another Operation, Velero's queue. "
        "Default: 72h.",
    )
    decision_timeout: DurationText | None = Field(
        default=None,
        description="How long a failed attempt waits for a person to retry or abort; 0s fails at once. Default: 0s for "
        "a Backup, else 72h.",
    )
    partial_failure: PartialFailure | None = Field(
        default=None,
        description="What failed items count as. Fail (default): the attempt failed. Accept: it succeeded, with the "
        "condition Degraded=True.",
    )
    dry_run: bool = Field(
        default=False, description="Check everything that can be checked without changing anything, then end."
    )
    ttl_after_finished: DurationText | None = Field(
        default=None,
        description="Delete the Operation this long after its end, such as 30d. Absent: keep it. Not honoured where a "
        "GitOps tool owns the Operation. The only part of the policy that may change later.",
    )


def _immutable(path: str) -> Rule:
    """The optional field, such as `policy.timeout`, can be neither changed nor added nor removed.

    A rule of the parent, since one of the field itself does not run when the field comes or goes. Written with has(),
    since the cost of comparing optionals (`self.?engine == oldSelf.?engine`) counts as unbounded.
    """
    new, old = f"self.{path}", f"oldSelf.{path}"
    return _forbidden(path, f"{_has(new)} == {_has(old)} && (!{_has(new)} || {_same(new, old)})")


def _same(new: str, old: str) -> str:
    """Equal both ways: an unknown key that one side lacks is seen only when it is looked up among the known ones."""
    return f"({new} == {old} && {old} == {new})"


def _has(path: str) -> str:
    names = path.split(".")
    prefixes = (".".join(names[:length]) for length in range(2, len(names) + 1))
    return "(" + " && ".join(f"has({prefix})" for prefix in prefixes) + ")"


def _forbidden(path: str, rule: str) -> Rule:
    message = f"spec.{path} cannot be changed: create a new Operation instead"
    return Rule(rule=rule, message=message, field_path=f".{path}", reason="FieldValueForbidden")


class OperationSpec(ApiModel):
    """What to do, to what, and how."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _forbidden("targetRef", "self.targetRef == oldSelf.targetRef"),
        _forbidden("type", "self.type == oldSelf.type"),
        _immutable("engine"),
        _immutable("parameters"),
        # All of the policy but ttlAfterFinished.
        _immutable("policy.requireReady"),
        _immutable("policy.timeout"),
        _immutable("policy.waitTimeout"),
        _immutable("policy.decisionTimeout"),
        _immutable("policy.partialFailure"),
        _immutable("policy.dryRun"),
        Rule(
            rule="!oldSelf.?cancel.orValue(false) || self.?cancel.orValue(false)",
            message="spec.cancel cannot be taken back once it is true: create a new Operation instead",
            field_path=".cancel",
            reason="FieldValueForbidden",
        ),
        Rule(
            rule="!(self.type in ['Backup', 'Restore']) || self.?engine.orValue('') != 'helm'",
            message="spec.engine helm cannot run a Backup or a Restore: use velero, or leave it out",
            field_path=".engine",
            on_create_only=True,
        ),
        Rule(
            rule="self.type != 'Upgrade' || self.?engine.orValue('') != 'velero'",
            message="spec.engine velero cannot run an Upgrade: use helm, or leave it out",
            field_path=".engine",
            on_create_only=True,
        ),
        Rule(
            rule="self.type != 'Restore' || has(self.parameters) && has(self.parameters.backupName)",
            message="a Restore needs spec.parameters.backupName: name a Velero Backup or a Backup Operation",
            field_path=".parameters.backupName",
            reason="FieldValueRequired",
            on_create_only=True,
        ),
        Rule(
            rule="self.type != 'Upgrade' || has(self.parameters) && has(self.parameters.targetVersion)",
            message="an Upgrade needs spec.parameters.targetVersion: give the chart version to go to",
            field_path=".parameters.targetVersion",
            reason="FieldValueRequired",
            on_create_only=True,
        ),
    )

    target_ref: TargetRef = Field(description="What the Operation works on. Cannot be changed.")
    type: OperationType = Field(
        description="What is done: Backup, Restore or Upgrade. Migration, RunCommand and Runbook are accepted and end "
        "Failed with the reason UnsupportedOperation. Cannot be changed."
    )
    engine: Engine | None = Field(
        default=None,
        description="Who does it: velero for Backup and Restore, helm for Upgrade. Absent: chosen by the type. Cannot "
        "be changed.",
    )
    parameters: Annotated[Parameters, Keywords(max_properties=64)] = Field(
        default_factory=Parameters,
        description="What the type needs to know. Each type has its own keys; one that the type does not know ends the "
        "Operation with ValidationFailed and the nearest known key. Cannot be changed.",
    )
    approvals: Approvals | None = Field(
        default=None,
        description="Who allows the Operation to run. Changing it needs the verb approve on operations.",
    )
    policy: Policy = Field(
        default_factory=Policy,
        description="How patient the Operation is, and what counts as failed. Only ttlAfterFinished can be changed.",
    )
    cancel: bool = Field(
        default=False,
        description="Set it to true to cancel. Work in flight is drained, not undone. It cannot be taken back.",
    )

    @property
    def effective_engine(self) -> Engine | None:
        """The engine that is named, else the type's own; None where the type has none yet."""
        return self.engine or DEFAULT_ENGINES.get(self.type)
