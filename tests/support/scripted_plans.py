"""The plan of a dry run as a script: a stand-in at the activity boundary, under the real activity's name."""

from collections.abc import Callable, Sequence

from support.scripted import Scripts
from temporalio import activity

from activities.operations import own_run
from activities.requests import Planned, StepRequest
from operation_engine.domain.plans import Fate, Plan, PlannedObject, PlannedStep, counted
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.records.operations import OperationStore

COMES = (
    PlannedObject(kind="v1/ConfigMap", namespace="shop", name="a", fate=Fate.CREATE),
    PlannedObject(kind="v1/Secret", namespace="shop", name="keys", fate=Fate.KEEP),
)
PLANNED = Plan(
    operation="shop/restore",
    type=OperationType.RESTORE,
    source="shop",
    destination="shop",
    backup_name="nightly-main-1",
    storage_location="default",
    steps=(
        PlannedStep(name="Admit", message="In order."),
        PlannedStep(name="FindBackup", message="It is Completed."),
        PlannedStep(name="CheckConsent", message="Both agree."),
        PlannedStep(name="CleanUp", message="There would be no attempt before.", would_run=False),
        PlannedStep(name="CreateRestore", message="A Velero Restore: 1 created, 1 left as they are."),
    ),
    objects=COMES,
    counts=counted(COMES),
    cannot_tell=("what webhooks change",),
)


class ScriptedPlans:
    """The verb of PlanActivities. It enters through the real store, as that does."""

    def __init__(self, store: OperationStore, scripts: Scripts) -> None:
        self._store, self._scripts = store, scripts

    @property
    def short(self) -> Sequence[Callable[..., object]]:
        return [self.plan_operation]

    @activity.defn
    async def plan_operation(self, request: StepRequest) -> Planned:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._scripts[activity.info().workflow_id or ""]
        return Planned(status=status, plan=script.plan or PLANNED)
