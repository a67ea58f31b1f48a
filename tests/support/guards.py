"""What a Restore's safeguards find in one run, as a test says; without a word nothing is in the way."""

from dataclasses import dataclass, field

from operation_engine.domain.admission import Answer, Gate, refuse, wait
from operation_engine.domain.replacement import Doomed, Replacement
from operation_engine.domain.resources.operation_status import Approval
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.safety import Holdings
from operation_engine.domain.velero import BackupObservation

AGREED = Gate(answer=Answer.PASS, message="Velero Backup nightly-main-1 goes back into shop.")
NO_CONSENT = refuse(Reason.CONSENT_MISSING, "Namespace till has not consented. Consent: kubectl annotate …")
UNNEEDED = Gate(answer=Answer.PASS, message="No approval is needed here.")
UNAPPROVED = wait(Reason.AWAITING_APPROVAL, "Every Restore needs an approval. To approve: kubectl patch …")
UNREADABLE = wait(Reason.AWAITING_APPROVAL, "This installation cannot verify claims.")
SPENT = refuse(Reason.APPROVAL_INVALID, "spec.approvals.claim: it was spent on another Operation before.")
APPROVED = Gate(answer=Answer.PASS, message="Approved by ann.")
APPROVAL = Approval(by="ann", claim_digest="sha256:1")
FULL = Holdings(counts={"configmaps": 2, "persistentvolumeclaims": 1})
NONE_TO_REPLACE = Replacement(gate=Gate(answer=Answer.PASS, message="Volumes that exist are kept as they are."))
REPLACED = Replacement(
    gate=Gate(answer=Answer.PASS, message="To be replaced: data with Deployment web."),
    workloads=(Doomed(kind="Deployment", name="web", uid="w"),),
    claims=(Doomed(kind="PersistentVolumeClaim", name="data", uid="c"),),
)
UNSAFE = Replacement(gate=refuse(Reason.SAFETY_BACKUP_FAILED, "Nothing was touched: data is not in the safety backup."))
RETAINED = Replacement(gate=refuse(Reason.VALIDATION_FAILED, "spec.parameters.existingVolumes: Replace would delete …"))


@dataclass
class Guards:
    """Answers in order; the last one of each stands."""

    consents: list[Gate] = field(default_factory=lambda: [AGREED])
    creates_destination: bool = False
    because: str | None = None
    identities: list[tuple[str, ...]] = field(default_factory=lambda: [("b", "s", "d")])
    approvals: list[Gate] = field(default_factory=lambda: [UNNEEDED])
    releases: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    holdings: Holdings = field(default_factory=Holdings)
    safety: list[list[BackupObservation | None]] = field(default_factory=list)
    """The phases of each safety backup."""
    replacement: Replacement = NONE_TO_REPLACE
    made: list[str] = field(default_factory=list)
    """Safety backups, by name."""
    made_by: dict[str, str] = field(default_factory=dict)
    """The run that made each."""
    asked_because: list[str | None] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    """`suspend` and `resume`, as they were called."""
    saved_as: list[str | None] = field(default_factory=list)
    """The safety backup that what has to go is said to be in, for each attempt."""
    deleted: list[Replacement] = field(default_factory=list)
    """What had to go, once for each time that all of it was gone."""
