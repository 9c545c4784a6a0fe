"""The environment of the operator: what is read, and what is said of what cannot be."""

from __future__ import annotations

import pytest

from walkforward_operator.settings import Settings, SettingsError

ENV = {
    "WATCH_NAMESPACES": "prod, staging,prod",
    "POD_UID": "u",
    "POD_NAME": "operator-0",
    "POD_NAMESPACE": "system",
    "OBJECT_STORE_BUNDLE_ROOTS": "s3://models/",
    "OBJECT_STORE_LEDGER_URI": "s3://ledger/x/",
    "TRAINER_IMAGE": "trainer:1",
}


def test_defaults_follow_from_what_is_given() -> None:
    found = Settings.from_env(ENV)
    assert found.namespaces == ("prod", "staging")
    assert found.object_store.ledger_uri == "s3://ledger/x"
    assert found.installation.data_roots == ("s3://models/",)
    assert found.installation.image == "trainer:1"
    assert found.metrics_port == 8081
    assert found.server_admin_port == 4010
    assert found.log_level == "INFO"
    assert found.crash_after_write is None
    assert not found.object_store.allow_file
    assert found.mlflow_uri == ""
    assert Settings.from_env({**ENV, "MLFLOW_TRACKING_URI": "https://mlflow.example.com"}).mlflow_uri == "https://mlflow.example.com"


def test_what_a_retrain_may_ask_for_is_read() -> None:
    more = {
        "ALLOWED_SECRETS": "a,b",
        "ALLOWED_URI_PREFIXES": "s3://bars/",
        "TRAINER_PULL_SECRETS": "pull",
        "ALLOWED_METADATA_PREFIXES": "acme.io",
    }
    found = Settings.from_env({**ENV, **more}).installation
    assert found.secrets == ("a", "b")
    assert found.data_roots == ("s3://bars/", "s3://models/")
    assert found.pull_secrets == ("pull",)
    assert found.metadata_prefixes == ("acme.io",)


@pytest.mark.parametrize("variable", sorted(ENV))
def test_what_is_missing_is_named(variable: str) -> None:
    env = {key: value for key, value in ENV.items() if key != variable}
    with pytest.raises(SettingsError, match=variable):
        Settings.from_env(env)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("WATCH_NAMESPACES", "prod-*", "patterns are not understood"),
        ("OBJECT_STORE_BUNDLE_ROOTS", "file:///models/", "does not begin with s3://"),
        ("OBJECT_STORE_LEDGER_URI", "http://x/", "does not begin with s3://"),
        ("METRICS_PORT", "http", "write a port"),
        ("METRICS_PORT", "70000", "write a port"),
        ("LOG_LEVEL", "LOUD", "write one of DEBUG"),
        ("TRAINER_IMAGE_PULL_POLICY", "Sometimes", "write one of Always"),
        ("WALKFORWARD_CRASH_AFTER_WRITE", "0", "1 or more"),
        ("MLFLOW_TRACKING_URI", "mlflow:5000", "the address of a server"),
    ],
)
def test_a_value_of_no_use_is_refused_with_what_to_write(variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s){variable}.*{says}"):
        Settings.from_env({**ENV, variable: value})


def test_files_are_for_tests_that_say_so() -> None:
    found = Settings.from_env({**ENV, "WALKFORWARD_ALLOW_FILE_STORE": "true", "OBJECT_STORE_BUNDLE_ROOTS": "file:///models/"})
    assert found.object_store.bundle_roots == ("file:///models/",)
