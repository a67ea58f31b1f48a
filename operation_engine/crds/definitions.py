"""The three CustomResourceDefinitions: names, columns, and the schema of their model; and the text of their files."""

import re
from typing import Any, Final

import yaml

from operation_engine.crds.schema import root_schema
from operation_engine.domain.resources.application_instance import ApplicationInstance
from operation_engine.domain.resources.cluster import Cluster
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation import Operation

Manifest = dict[str, Any]

HEADER: Final = "# Written by `python -m operation_engine.crds` from the models in operation_engine/domain/resources.\n"


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Manifest:
    """A column of `kubectl get`; a wide one shows with `-o wide` only."""
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _condition(condition: str) -> str:
    return f'.status.conditions[?(@.type=="{condition}")].status'


_AGE: Final = _column("Age", ".metadata.creationTimestamp", "date")

_OPERATION_COLUMNS: Final = [
    _column("Type", ".spec.type"),
    _column("Target", ".spec.targetRef.name"),
    _column("Phase", ".status.phase"),
    _column("Reason", ".status.reason"),
    _column("Progress", ".status.progress.percent", "integer"),
    _AGE,
    _column("Step", ".status.step", wide=True),
    _column("Attempt", ".status.attempt", "integer", wide=True),
    _column("Started", ".status.startedAt", "date", wide=True),
    _column("Finished", ".status.finishedAt", "date", wide=True),
    _column("Workflow", ".status.workflow.id", wide=True),
]

_CLUSTER_COLUMNS: Final = [
    _column("Phase", ".status.phase"),
    _column("Connected", _condition("Connected")),
    _AGE,
    _column("Healthy", _condition("ControllersHealthy"), wide=True),
    _column("Heartbeat", ".status.lastHeartbeat", "date", wide=True),
    _column("Version", ".status.operatorVersion", wide=True),
]

_APPLICATION_INSTANCE_COLUMNS: Final = [
    _column("Ready", _condition("Ready")),
    _column("Chart", ".spec.chart.name"),
    _column("Version", ".spec.chart.version"),
    _AGE,
]


def definitions() -> list[Manifest]:
    """The CustomResourceDefinitions, Operations first."""
    return [
        _definition(
            Operation,
            names={"shortNames": ["vop", "op"], "categories": ["vworkspace"]},
            columns=_OPERATION_COLUMNS,
            selectable=[".spec.type", ".status.phase"],
        ),
        # In no category: `kubectl delete vworkspace --all` would cut the link to Odoo.
        _definition(Cluster, names={"shortNames": ["cluster", "vwcluster"]}, columns=_CLUSTER_COLUMNS, scope="Cluster"),
        _definition(ApplicationInstance, names={"shortNames": ["appinst"]}, columns=_APPLICATION_INSTANCE_COLUMNS),
    ]


def _definition(
    model: type[ApiModel],
    *,
    names: Manifest,
    columns: list[Manifest],
    scope: str = "Namespaced",
    selectable: list[str] | None = None,
) -> Manifest:
    kind = model.__name__
    group, version = model.model_fields["api_version"].default.split("/")
    singular = kind.lower()
    served: Manifest = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    if selectable:
        served["selectableFields"] = [{"jsonPath": path} for path in selectable]
    served["schema"] = {"openAPIV3Schema": root_schema(model)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s", "singular": singular, **names},
            "versions": [served],
        },
    }


class _Dumper(yaml.SafeDumper):
    """YAML that Go reads as Python wrote it: `n` and `1e3` are strings here, and must be quoted to stay that."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_.]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def files() -> dict[str, str]:
    """File name to content, the same at every call."""
    return {
        f"{manifest['spec']['group']}_{manifest['spec']['names']['plural']}.yaml": text(manifest)
        for manifest in definitions()
    }


def text(manifest: Manifest) -> str:
    """The manifest as YAML, with a line on top that says where it comes from."""
    return HEADER + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
