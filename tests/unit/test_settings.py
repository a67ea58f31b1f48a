"""Settings: each from one variable, and a wrong one is named."""

import pytest

from operation_engine.runtime.settings import Settings, SettingsError, load_settings, variable


def test_without_any_variable_the_defaults_hold() -> None:
    assert load_settings({}) == Settings()
    assert load_settings({"VOP_TASK_QUEUE": ""}) == Settings()


def test_temporal_s_variables_have_the_names_that_its_own_tools_read() -> None:
    given = {"TEMPORAL_ADDRESS": "t:7233", "TEMPORAL_NAMESPACE": "n", "TEMPORAL_UI_URL": "http://ui"}
    settings = load_settings(given)
    assert (settings.temporal_address, settings.temporal_namespace, settings.temporal_ui_url) == tuple(given.values())


def test_values_are_read_as_what_they_are() -> None:
    environ = {
        "VOP_REQUIRE_MANAGED_NAMESPACE": "false",
        "VOP_HTTP_PORT": "8080",
        "VOP_STORAGE_LOCATIONS": '{"shop": ["eu"], "*": ["default"]}',
        "VOP_TASK_QUEUE": "q",
        "VOP_APPROVALS_MODE": "Optional",
        "VOP_APPROVED_BY_GUARDED": "true",
        "VOP_NEW_NAMESPACE_PREFIXES": '{"*": ["{namespace}-"]}',
    }
    settings = load_settings(environ)
    assert (settings.require_managed_namespace, settings.http_port, settings.waits_queue) == (False, 8080, "q-waits")
    assert settings.storage_locations["shop"] == ["eu"]
    assert (settings.approvals_mode, settings.approved_by_guarded) == ("Optional", True)
    assert settings.new_namespace_prefixes["*"] == ["{namespace}-"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VOP_HTTP_PORT", "http"),
        ("VOP_HTTP_PORT", "70000"),
        ("VOP_REQUIRE_MANAGED_NAMESPACE", "perhaps"),
        ("VOP_STORAGE_LOCATIONS", "{shop"),
        ("VOP_STORAGE_LOCATIONS", '{"shop": "eu"}'),
        ("VOP_NEW_NAMESPACE_PREFIXES", '["copy-"]'),
        ("VOP_APPROVALS_MODE", "never"),
        ("VOP_APPROVED_BY_GUARDED", "perhaps"),
        ("VOP_LOG_LEVEL", "loud"),
        ("VOP_LOG_FORMAT", "yaml"),
        ("VOP_RETENTION_DAYS", "0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable_s_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}"):
        load_settings({name: value})


def test_without_a_word_nobody_restores_unapproved_and_no_namespace_is_made() -> None:
    settings = load_settings({})
    assert settings.approvals_mode == "Required"
    assert not settings.approved_by_guarded
    assert not settings.new_namespace_prefixes


def test_no_two_settings_share_a_variable() -> None:
    names = [variable(field) for field in Settings.model_fields]
    assert len(set(names)) == len(names)
