"""Flux's HelmReleases without Flux: the kind alone, after its public documentation (helm.toolkit.fluxcd.io/v2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.kube import Kubectl

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]

_FREE_FORM = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "helmreleases.helm.toolkit.fluxcd.io"},
    "spec": {
        "group": "helm.toolkit.fluxcd.io",
        "scope": "Namespaced",
        "names": {
            "kind": "HelmRelease",
            "listKind": "HelmReleaseList",
            "plural": "helmreleases",
            "singular": "helmrelease",
            "shortNames": ["hr"],
        },
        "versions": [
            {
                "name": "v2",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                                "required": ["interval"],
                                "properties": {
                                    "interval": {"type": "string"},
                                    "suspend": {"type": "boolean"},
                                    "targetNamespace": {"type": "string", "minLength": 1, "maxLength": 63},
                                },
                            },
                            "status": _FREE_FORM,
                        },
                    }
                },
            }
        ],
    },
}


@contextmanager
def helm_releases_known(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[None]:
    """The cluster knows HelmReleases for as long as the block lasts.

    Velero may have taken notice of the kind (when it starts, and every five minutes), and would fail every backup
    once it is gone: it begins anew.
    """
    kubectl.apply(DEFINITION)
    kubectl("wait", "--for=condition=Established", "crd", DEFINITION["metadata"]["name"], "--timeout=30s")
    try:
        yield
    finally:
        kubectl("delete", "crd", DEFINITION["metadata"]["name"], "--timeout=60s")
        if cluster.pid("velero") is not None:
            cluster.restart("velero")


def helm_release(namespace: str, name: str = "web", **spec: Any) -> Json:
    """A HelmRelease; without `targetNamespace` it installs into its own namespace."""
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"interval": "5m", "chart": {"spec": {"chart": "web"}}, **spec},
    }


class HelmReleases:
    """HelmReleases of the cluster, and their status as only Flux writes it."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def get(self, namespace: str, name: str = "web") -> Json:
        found: Json = self._kubectl.json("get", "helmrelease", "-n", namespace, name)
        return found

    def suspend(self, namespace: str, name: str = "web") -> Any:
        """`spec.suspend`; None where the field is absent."""
        return self.get(namespace, name)["spec"].get("suspend")

    def marks(self, namespace: str, name: str = "web") -> dict[str, str]:
        """What the engine has written down on the release."""
        annotations = self.get(namespace, name)["metadata"].get("annotations", {})
        return {key: value for key, value in annotations.items() if key.startswith("ops.vworkspace.io/")}

    def patch(self, patch: str, namespace: str, name: str = "web", *more: str) -> None:
        self._kubectl("patch", "helmrelease", "-n", namespace, name, "--type=merge", "-p", patch, *more)

    def say(self, type_: str, status: str, namespace: str, name: str = "web") -> None:
        """Write one condition."""
        body = f'{{"status":{{"conditions":[{{"type":"{type_}","status":"{status}"}}]}}}}'
        self.patch(body, namespace, name, "--subresource=status")
