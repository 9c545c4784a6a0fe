"""What an installation does not allow is refused with field, value and the way out."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from retrains import INSTALLATION, spec

from walkforward_core.api.data import JoinSpec, TradesSpec
from walkforward_core.api.retrain import Artifacts, JobSpec, RetrainSpec
from walkforward_operator.retrain.allowed import refusal
from walkforward_operator.retrain.reasons import RetrainReason


def data(uri: str) -> RetrainSpec:
    return spec(data=msgspec.structs.replace(spec().data, uri=uri))


def reading(join: str, trades: str) -> RetrainSpec:
    base = spec(artifacts=Artifacts(uri="s3://models/fx"))
    joins = (JoinSpec(name="macro", uri=join, columns=("vix",)),)
    return msgspec.structs.replace(base, data=msgspec.structs.replace(base.data, joins=joins, trades=TradesSpec(uri=trades)))


@pytest.mark.parametrize(
    "wanted",
    [
        spec(),
        spec(job=JobSpec(image="registry.local/trainer:2", labels={"team": "fx"}, annotations={"example.com/a": "b"})),
        spec(job=JobSpec(annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}, affinity={"nodeAffinity": {}})),
        spec(artifacts=Artifacts(uri="s3://models/", secret_name="team-store")),
        data("s3://data"),
        data("secret://BARS_DSN"),
        data("s3://data/date=*/*.parquet"),
        reading("s3://data/macro.csv", "s3://data/trades/"),
    ],
)
def test_what_is_allowed(wanted: RetrainSpec) -> None:
    assert refusal(wanted, INSTALLATION) is None


@pytest.mark.parametrize(
    ("wanted", "reason", "words"),
    [
        (spec(job=JobSpec(image="evil/trainer:1")), RetrainReason.IMAGE_NOT_ALLOWED, "'evil/trainer:1' is not allowed here: use registry"),
        (spec(job=JobSpec(image="registry.local/trainer:3")), RetrainReason.IMAGE_NOT_ALLOWED, "spec.job.image"),
        (spec(artifacts=Artifacts(uri="s3://models/fx", secret_name="admin")), RetrainReason.SECRET_NOT_ALLOWED, "team-store"),
        (spec(artifacts=Artifacts(uri="s3://models-evil/fx")), RetrainReason.URI_NOT_ALLOWED, "spec.artifacts.uri"),
        (data("s3://other/x"), RetrainReason.URI_NOT_ALLOWED, "use s3://data"),
        (data("s3://data/../models/x"), RetrainReason.URI_NOT_ALLOWED, "spec.data.uri"),
        (reading("s3://other/macro.csv", "s3://data/t"), RetrainReason.URI_NOT_ALLOWED, "spec.data.joins[0].uri 's3://other/macro.csv'"),
        (reading("s3://data/macro.csv", "s3://other/t"), RetrainReason.URI_NOT_ALLOWED, "spec.data.trades.uri 's3://other/t'"),
        (reading("s3://data/macro.csv", "file:///trades"), RetrainReason.FILE_REFUSED, "spec.data.trades.uri"),
        (data("s3://dat*/x"), RetrainReason.URI_NOT_ALLOWED, "spec.data.uri"),
        (data("file:///etc/passwd"), RetrainReason.FILE_REFUSED, "use s3://"),
        (spec(artifacts=Artifacts(uri="file:///tmp/x")), RetrainReason.FILE_REFUSED, "spec.artifacts.uri"),
        (
            spec(job=JobSpec(annotations={"vault.hashicorp.com/agent-inject": "true"})),
            RetrainReason.JOB_SETTING_NOT_ALLOWED,
            "use a key without prefix, or one with example.com",
        ),
        (spec(job=JobSpec(labels={"azure.workload.identity/use": "true"})), RetrainReason.JOB_SETTING_NOT_ALLOWED, "spec.job.labels"),
        (spec(job=JobSpec(affinity={"podAffinity": {}})), RetrainReason.JOB_SETTING_NOT_ALLOWED, "podAffinity"),
    ],
)
def test_what_is_not(wanted: RetrainSpec, reason: RetrainReason, words: str) -> None:
    problem = refusal(wanted, INSTALLATION)
    assert problem is not None
    assert problem.reason is reason
    assert words in problem.message


def test_an_installation_without_a_trainer_says_so() -> None:
    bare = replace(INSTALLATION, image="", secret="", images=())
    problem = refusal(spec(), bare)
    assert problem is not None
    assert "no trainer image" in problem.message
    problem = refusal(spec(job=JobSpec(image="a/b")), bare)
    assert problem is not None
    assert "allows none" in problem.message
