"""Names that starter, reader and Velero must agree on."""

import re
import string

from hypothesis import assume, given
from hypothesis import strategies as st
from support.values import REF, UID

from operation_engine.domain.identity import (
    OperationRef,
    Role,
    label_value,
    spec_digest,
    velero_name,
    workflow_id,
    workflow_url,
)

DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")

dns_names = st.from_regex(DNS_SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= 253)
numbers = st.integers(min_value=1, max_value=10_000)


@given(dns_names, st.uuids(), st.sampled_from(Role), numbers)
def test_a_velero_object_s_name_is_valid_and_fits_into_a_label(name: str, uid: object, role: Role, number: int) -> None:
    made = velero_name(OperationRef(namespace="shop", name=name, uid=str(uid)), role, number)
    assert len(made) <= 63
    assert DNS_SUBDOMAIN.fullmatch(made)
    assert LABEL.fullmatch(made)


@given(dns_names, numbers, numbers, st.sampled_from(Role), st.sampled_from(Role))
def test_no_two_attempts_of_an_operation_share_a_velero_object(
    name: str, one: int, other: int, role: Role, another: Role
) -> None:
    assume((one, role) != (other, another))
    ref = OperationRef(namespace="shop", name=name, uid=UID)
    assert velero_name(ref, role, one) != velero_name(ref, another, other)


def test_a_namesake_made_anew_has_another_workflow_and_other_velero_objects() -> None:
    anew = REF.model_copy(update={"uid": "7d444840-9dc0-11d1-b245-5ffdce74fad2"})
    assert workflow_id(anew) != workflow_id(REF) == f"operation/shop/nightly/{UID}"
    assert velero_name(anew, Role.MAIN, 1) != velero_name(REF, Role.MAIN, 1) == "nightly-0f8fad5b-main-1"


def test_a_workflow_s_page_keeps_the_slashes_of_its_id_in_one_path_element() -> None:
    url = workflow_url("https://temporal.example.com/", "v workspace", workflow_id(REF), "run")
    assert url == (
        "https://temporal.example.com/namespaces/v%20workspace/workflows/"
        f"operation%2Fshop%2Fnightly%2F{UID}/run/timeline"
    )


@given(st.text(string.ascii_letters, max_size=300), st.text(string.ascii_letters, max_size=300))
def test_label_values_fit_and_stay_apart(one: str, other: str) -> None:
    assert len(label_value(one)) <= 63
    assert (label_value(one) == label_value(other)) == (one == other)


def test_a_long_label_value_is_cut_as_velero_cuts_its_own() -> None:
    assert label_value("a" * 64) == "a" * 57 + "ffe054"


SPEC = {"type": "Backup", "targetRef": {"kind": "Namespace", "name": "shop"}, "parameters": {"ttl": "1h", "x": 1}}


def test_the_digest_knows_a_spec_whatever_the_order_of_its_keys() -> None:
    assert spec_digest(dict(reversed(SPEC.items()))) == spec_digest(SPEC)


def test_the_digest_leaves_out_what_may_change_meanwhile() -> None:
    assert spec_digest({**SPEC, "cancel": True, "approvals": {"claim": "c"}, "policy": {}}) == spec_digest(SPEC)


def test_the_digest_tells_apart_everything_that_decides_the_work() -> None:
    others = [
        {**SPEC, "type": "Restore"},
        {**SPEC, "engine": "velero"},
        {**SPEC, "targetRef": {"kind": "Namespace", "name": "till"}},
        {**SPEC, "parameters": {"ttl": "1h", "x": 2}},
    ]
    assert len({spec_digest(spec) for spec in [SPEC, *others]}) == 5
