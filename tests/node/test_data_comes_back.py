"""What was on a volume is there again after its namespace was deleted and restored, by plain Velero alone."""

from typing import Any

import pytest
from support.kube import Kubectl
from support.shop import ORDERS, Shop
from support.velero import Velero
from support.world import files_on_a_volume

WITH_DATA = "--default-volumes-to-fs-backup"


@pytest.fixture
def velero(kubectl: Kubectl) -> Velero:
    return Velero(kubectl)


@pytest.fixture
def shop(kubectl: Kubectl, namespace: str) -> Shop:
    shop = Shop(kubectl, namespace)
    shop.open()
    return shop


def bring_back(kubectl: Kubectl, velero: Velero, backup: dict[str, Any], namespace: str) -> None:
    assert backup["status"]["phase"] == "Completed"
    kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert velero.restore(backup["metadata"]["name"])["status"]["phase"] == "Completed"


def test_the_rows_of_a_database_come_back_and_its_checkpoint_was_a_hook_in_its_container(
    kubectl: Kubectl, velero: Velero, shop: Shop
) -> None:
    orders = shop.orders()
    assert orders.startswith(f"{ORDERS} orders ")
    backup = velero.back_up(shop.namespace, WITH_DATA)
    assert backup["status"]["hookStatus"] == {"hooksAttempted": 1}
    # Read by a URL of this machine's, not by the address at which pods find S3.
    assert "stdout: CHECKPOINT" in velero("backup", "logs", backup["metadata"]["name"])

    bring_back(kubectl, velero, backup, shop.namespace)

    shop.await_ready()
    assert shop.orders() == orders


def test_without_the_data_of_volumes_the_same_backup_brings_back_an_empty_database(
    kubectl: Kubectl, velero: Velero, shop: Shop
) -> None:
    backup = velero.back_up(shop.namespace)

    bring_back(kubectl, velero, backup, shop.namespace)

    shop.await_ready()
    with pytest.raises(AssertionError, match='relation "orders" does not exist'):
        shop.orders()


WRITE = """
cd /data
head -c 20000000 /dev/urandom >random
mkdir -p empty deep/er
echo secret >deep/er/file; chmod 0640 deep/er/file; chown 999:998 deep/er/file
ln -s deep/er/file link
"""
LOOK = "cd /data; find . ! -path . | sort | xargs stat -c '%n %F %a %u:%g %N'; sha256sum random deep/er/file"


def test_files_come_back_bit_for_bit_with_their_owners_and_modes(
    kubectl: Kubectl, velero: Velero, namespace: str
) -> None:
    def in_pod(script: str) -> str:
        kubectl("rollout", "status", "statefulset/files", "-n", namespace, "--timeout=90s")
        return kubectl("exec", "-n", namespace, "files-0", "-c", "files", "--", "sh", "-euc", script).stdout

    kubectl.apply(files_on_a_volume(namespace))
    in_pod(WRITE)
    before = in_pod(LOOK)
    assert "deep/er/file regular file 640 999:998" in before

    bring_back(kubectl, velero, velero.back_up(namespace, WITH_DATA), namespace)

    after = [line for line in in_pod(LOOK).splitlines() if "/.velero" not in line]
    assert "\n".join(after) == before.strip()
