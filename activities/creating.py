"""Creating a Velero object once, whoever crashes when. Part of the activities on Velero's objects."""

from operation_engine.domain.velero import is_ours
from operation_engine.runtime.kubernetes import Conflict, KubernetesApi, Manifest, Refused, Resource


async def create_once(api: KubernetesApi, resource: Resource, manifest: Manifest) -> Manifest:
    """The object, created now or by an earlier try. Raises Refused where its name is taken by one that is not ours."""
    name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    try:
        return await api.create(resource, manifest, namespace)
    except Conflict as error:
        found = await api.get(resource, name, namespace)
        if not is_ours(found["metadata"].get("labels") or {}, manifest["metadata"]["labels"]):
            kind = manifest["kind"]
            raise Refused(f"A Velero {kind} {name} exists that this engine did not make.") from error
        return found
