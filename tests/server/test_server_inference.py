"""Inference over a real socket, with real bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundles import make_bundle
from server_harness import routing

if TYPE_CHECKING:
    from pathlib import Path

    from server_harness import Running


async def test_answers_by_stable(server: Running, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    assert (await server.get("/v2/health/ready")).status == 503
    await server.apply(routing(stable=made.ref))
    assert (await server.get("/v2/health/ready")).json == {"ready": True}
    row = list(made.golden.x[3])
    reply = await server.infer(row, request_id="q-1", client="c")
    assert reply.status == 200
    answer = reply.json
    assert answer["id"] == "q-1"
    assert answer["model_name"] == "fx"
    assert answer["model_version"] == made.ref.version
    assert answer["parameters"] == {
        "version": made.ref.version,
        "bundle": made.ref.digest,
        "generation": 1,
        "arm": "stable",
        "fallback": False,
    }
    p, position = answer["outputs"]
    assert p["shape"] == [1, 2]
    assert p["data"] == pytest.approx(made.golden.p[3], abs=1e-6)
    assert position["data"] == [made.golden.position[3]]
