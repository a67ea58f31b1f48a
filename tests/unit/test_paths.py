"""What becomes part of a request's path is the name of an object, or no request is made."""

import pytest

from operation_engine.runtime.kubernetes import APPLICATION_INSTANCES, NAMESPACES, OPERATIONS, NotFound


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a?watch=true", "a#b", "%2e%2e", "..", ".", "A", "a ", "-a", "a" * 254]
)
def test_what_can_be_no_name_is_not_found_without_asking(name: str) -> None:
    with pytest.raises(NotFound):
        APPLICATION_INSTANCES.path("shop", name)
    with pytest.raises(NotFound):
        OPERATIONS.path(name, "web")


def test_names_lead_to_their_objects() -> None:
    assert APPLICATION_INSTANCES.path("shop", "web.v2") == (
        "/apis/apps.vworkspace.io/v1alpha1/namespaces/shop/applicationinstances/web.v2"
    )
    assert NAMESPACES.path(None, "shop") == "/api/v1/namespaces/shop"
    assert OPERATIONS.path("shop", "b", "status").endswith("/namespaces/shop/operations/b/status")
