"""The object store's contract on a real S3 server."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from objectstore_contract import ObjectStoreContract
from s3_server import s3_server

from walkforward_core.errors import Forbidden, NotFound
from walkforward_core.objectstore import ObjectStore, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def s3_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as env:
        yield env


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, s3_env: dict[str, str]) -> ObjectStore:
        return open_store("s3://models", allow_file=False, env=s3_env)

    @pytest.fixture
    def base(self) -> str:
        return f"s3://models/{uuid.uuid4().hex}"


def test_a_real_store_refuses_wrong_keys_and_names_missing_buckets(s3_env: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="no-such-bucket"):
        open_store("s3://x", allow_file=False, env=s3_env).get("s3://no-such-bucket/x")
    wrong = {**s3_env, "AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(Forbidden, match="keys"):
        open_store("s3://x", allow_file=False, env=wrong).put("s3://models/x", b"")
