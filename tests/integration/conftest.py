"""One API server for all integration tests of a worker, one namespace for each test."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import releases
from api_server import RealApi, real_api
from kube import Kube

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def api() -> Iterator[RealApi]:
    """A control plane without nodes, the CRDs established; a module that takes it away starts one of its own."""
    with real_api() as running:
        yield running


@pytest.fixture(scope="session")
def kube(api: RealApi) -> Iterator[Kube]:
    """The API with all rights."""
    admin = Kube.admin(api.server, api.kubeconfig, api.state / "pki")
    yield admin
    admin.client.close()


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """An empty namespace, deleted afterwards (nobody waits for that)."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    kube.create(item).raise_for_status()
    yield name
    kube.delete(item)


@pytest.fixture(scope="session")
def installed(kube: Kube) -> Kube:
    """The API with both releases of `releases.py` installed, once for all tests of a worker."""
    releases.both(kube)
    return kube
