"""Which approval claims were spent, and on which Operation: one ConfigMap each in the engine's own namespace.

Creating it is the compare-and-swap: of two Operations with the same claim one wins. Called by the approval activity.
"""

from operation_engine.domain import identity
from operation_engine.domain.approvals import Claim
from operation_engine.domain.identity import OperationRef
from operation_engine.runtime.kubernetes import CONFIG_MAPS, Conflict, KubernetesApi, NotFound

_DIGEST_IN_NAME = 40
UID, OPERATION = "uid", "operation"


class SpentClaims:
    """The records of spent claims. They may be deleted once `expiresAt` has passed: then the claim is worth nothing."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    async def spender(self, claim: Claim) -> OperationRef | None:
        """The Operation that the claim was spent on, None while it is unspent."""
        try:
            found = await self._api.get(CONFIG_MAPS, _name(claim), self._namespace)
        except NotFound:
            return None
        data = found.get("data") or {}
        namespace, _, name = data.get(OPERATION, "").partition("/")
        return OperationRef(namespace=namespace, name=name, uid=data.get(UID, ""))

    async def spend(self, claim: Claim, ref: OperationRef) -> OperationRef:
        """Spend the claim on this Operation; returns the one that it is spent on from now, or was before."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "immutable": True,
            "metadata": {
                "name": _name(claim),
                "namespace": self._namespace,
                "labels": {identity.MANAGED_BY_LABEL: identity.MANAGED_BY, identity.OPERATION_LABEL: ref.uid},
            },
            "data": {
                UID: ref.uid,
                OPERATION: f"{ref.namespace}/{ref.name}",
                "approvedBy": claim.by,
                "claimDigest": claim.digest,
                "expiresAt": claim.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }
        try:
            await self._api.create(CONFIG_MAPS, body, self._namespace)
        except Conflict:
            return await self.spender(claim) or ref
        return ref


def _name(claim: Claim) -> str:
    return f"approval-{claim.digest.rpartition(':')[2][:_DIGEST_IN_NAME]}"
