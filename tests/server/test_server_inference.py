"""Inference over a real socket, with real bundles: the V2 surface."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from bundles import HOUR_MS, make_bundle
from server_harness import T0, routing

from walkforward_core.bundle import DecisionKind, NanPolicy

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import Made
    from server_harness import Running

INFER = "/v2/models/fx/infer"


@pytest.fixture
async def made(server: Running, tmp_path: Path) -> Made:
    bundle = make_bundle(tmp_path / "store")
    await server.apply(routing(stable=bundle.ref))
    return bundle


def body(row: list[Any], **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "X", "shape": [1, len(row)], "datatype": "FP32", "data": row}], **fields}


async def test_answers_by_stable(server: Running, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    assert (await server.get("/v2/health/ready")).status == 503
    assert (await server.get("/readyz", admin=True)).status == 503
    assert (await server.infer([0.0, 0.0, 0.0])).status == 503
    await server.apply(routing(stable=made.ref))
    assert (await server.get("/v2/health/ready")).json == {"ready": True}
    assert (await server.get("/readyz", admin=True)).status == 200
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
    assert (p["name"], p["datatype"], p["shape"]) == ("p", "FP32", [1, 2])
    assert p["data"] == pytest.approx(made.golden.p[3], abs=1e-6)
    assert (position["name"], position["datatype"], position["shape"]) == ("position", "FP64", [1])
    assert position["data"] == [made.golden.position[3]]


async def test_describes_itself(server: Running, made: Made) -> None:
    assert (await server.get("/v2")).json["extensions"] == ["binary_tensor_data"]
    assert (await server.get("/v2/health/live")).json == {"live": True}
    assert (await server.get("/v2/models")).json == {"models": ["fx"]}
    for path in ("/v2/models/fx", f"/v2/models/fx/versions/{made.ref.version}"):
        metadata = (await server.get(path)).json
        assert metadata["versions"] == [made.ref.version]
        assert metadata["platform"] == "onnx_onnxv1"
        assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 3]}]
        assert [output["name"] for output in metadata["outputs"]] == ["p", "position"]
        assert metadata["parameters"]["features"] == "a,b,c"
        assert metadata["parameters"]["bundle"] == made.ref.digest
        assert (await server.get(path + "/ready")).json == {"name": "fx", "ready": True}
    assert (await server.get("/v2/models/fx/versions/other")).status == 404
    assert (await server.get("/v2/models/fx/versions/other/ready")).status == 503


async def test_unknown_paths_and_methods(server: Running, made: Made) -> None:
    assert (await server.get("/nothing")).status == 404
    assert (await server.get("/v2/models/other")).status == 404
    assert "'other' is not served here" in (await server.post("/v2/models/other/infer", {})).json["error"]
    reply = await server.get(INFER)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    reply = await server.post("/v2/health/live", {})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert (await server.get("/nothing", admin=True)).status == 404


async def test_batches_flat_and_nested_agree_with_single_rows(server: Running, made: Made) -> None:
    rows = [list(row) for row in made.golden.x[:7]]
    for data in (rows, [value for row in rows for value in row]):
        answer = (await server.post(INFER, {"inputs": [{"name": "X", "shape": [7, 3], "datatype": "FP32", "data": data}]})).json
        p, position = answer["outputs"]
        assert p["shape"] == [7, 2]
        assert p["data"] == pytest.approx([value for row in made.golden.p[:7] for value in row], abs=1e-6)
        assert position["data"] == list(made.golden.position[:7])


async def test_binary_tensors_in_and_out(server: Running, made: Made) -> None:
    raw = struct.pack("<6f", *made.golden.x[0], *made.golden.x[1])
    header = {"inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}]}
    header |= {"id": "b", "outputs": [{"name": "p", "parameters": {"binary_data": True}}]}
    text = json.dumps(header).encode()
    reply = await server.post(INFER, text + raw, headers={"Inference-Header-Content-Length": str(len(text))})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    size = int(reply.headers["inference-header-content-length"])
    said = json.loads(reply.body[:size])
    assert said["id"] == "b"
    assert said["outputs"] == [{"name": "p", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}]
    assert struct.unpack("<4f", reply.body[size:]) == pytest.approx([*made.golden.p[0], *made.golden.p[1]], abs=1e-6)


async def test_raw_request_is_the_tensor_itself(server: Running, made: Made) -> None:
    raw = struct.pack("<6f", *made.golden.x[0], *made.golden.x[1])
    reply = await server.post(INFER, raw, headers={"Inference-Header-Content-Length": "0"})
    assert reply.json["outputs"][0]["data"] == pytest.approx([*made.golden.p[0], *made.golden.p[1]], abs=1e-6)
    reply = await server.post(INFER, raw[:-1], headers={"Inference-Header-Content-Length": "0"})
    assert reply.status == 400
    assert reply.json["error"] == "raw request has 23 bytes, expected a multiple of 12 (FP32 rows of 3 features)"


async def test_all_outputs_binary_by_one_parameter(server: Running, made: Made) -> None:
    reply = await server.infer([0.0, 0.0, 0.0], binary_data_output=True)
    size = int(reply.headers["inference-header-content-length"])
    assert [output["name"] for output in json.loads(reply.body[:size])["outputs"]] == ["p", "position"]
    assert len(reply.body) - size == 8 + 8


async def test_asked_version_answers_alone_and_is_counted_apart(server: Running, made: Made) -> None:
    path = f"/v2/models/fx/versions/{made.ref.version}/infer"
    assert (await server.infer([0.1, 0.2, 0.3], path=path)).json["model_version"] == made.ref.version
    reply = await server.infer([0.1, 0.2, 0.3], path="/v2/models/fx/versions/20200101T000000Z-00000000/infer")
    assert reply.status == 404
    assert "is not loaded; loaded: " + made.ref.version in reply.json["error"]
    assert (await server.stats())["rows"][0]["requests"]["exposed"] == 0
    assert "ml_explicit_requests_total 1" in (await server.get("/metrics", admin=True)).body.decode()


async def test_columns_in_any_order_and_more_of_them(server: Running, made: Made) -> None:
    a, b, c = made.golden.x[5]
    answer = (await server.infer([c, 9.0, a, b], features="c,more,a,b")).json
    assert answer["outputs"][0]["data"] == pytest.approx(made.golden.p[5], abs=1e-6)
    reply = await server.infer([c, a], features="c,a")
    assert reply.status == 400
    assert "parameter features lacks b, which model" in reply.json["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "expected 1 input tensor 'X', got 0"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}] * 2}, "expected 1 input tensor 'X', got 2"),
        ({"inputs": [{"name": "Y", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}, "expected input tensor 'X', got 'Y'"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "INT64", "data": [1, 2, 3]}]}, "expected datatype FP32, got 'INT64'"),
        ({"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}, "expected shape [rows, 3], got [1, 2]"),
        ({"inputs": [{"name": "X", "shape": [3], "datatype": "FP32", "data": [1, 2, 3]}]}, "expected shape [rows, 3], got [3]"),
        ({"inputs": [{"name": "X", "shape": [0, 3], "datatype": "FP32", "data": []}]}, "expected shape [rows, 3], got [0, 3]"),
        ({"inputs": [{"name": "X", "shape": [-1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}, "expected shape [rows, 3], got [-1, 3]"),
        ({"inputs": [{"name": "X", "shape": [9999, 3], "datatype": "FP32", "data": [1, 2, 3]}]}, "at most 1024 rows"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2]}]}, "needs 3 values, data has 2"),
        ({"inputs": [{"name": "X", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [1, 2]]}]}, "data has 2 rows of [2, 3] values"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, [2], 3]}]}, "mixes numbers and rows"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32"}]}, "tensor 'X' has no data"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ["1", 2, 3]}]}, "$.inputs[0].data[0]"),
        ({"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, None, 3]}]}, "row 0, feature 'b' is NaN"),
        (
            {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 1e39]}]},
            "feature 'c' is infinite, or too large for FP32",
        ),
        (body([1, 2, 3], parameters={"ts": 1_760_000_400}), "parameter ts is 1760000400, expected epoch milliseconds"),
        (body([1, 2, 3], parameters={"ts": 99_760_000_400_000}), "at most a day ahead"),
        (body([1, 2, 3], parameters={"base_position": 1.5}), "base_position is 1.5, expected a number in [-1, 1]"),
        (body([1, 2, 3], parameters={"price": 0}), "parameter price is 0.0, expected a positive number"),
        (body([1, 2, 3], parameters={"client": 5}), "Expected `str | null`, got `int` - at `$.parameters.client`"),
        (body([1, 2, 3], parameters={"symbol": "x" * 200}), "parameter symbol has 200 characters"),
        (body([1, 2, 3], parameters={"features": "a,a,b"}), "names a column twice"),
        (body([1, 2, 3], parameters={"features": "a," * 40_000}), "parameter features has 80000 characters"),
        (body([1, 2, 3], parameters={"client": "x" * 200}), "parameter client has 200 characters, at most 128"),
        (body([1, 2, 3], id="x" * 200), "id has 200 characters, at most 128"),
        (body([1, 2, 3], outputs=[{"name": "q"}]), "output 'q' is not one of ['p', 'position']"),
        ([], "request is not valid V2 JSON"),
    ],
)
async def test_bad_input_is_named(server: Running, made: Made, change: Any, message: str) -> None:
    reply = await server.post(INFER, change)
    assert reply.status == 400
    assert message in reply.json["error"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b'{"inputs":[{"name":"X","shape":[1,3],"datatype":"FP32","data":[NaN,1,2]}]}', b"[" * 5000]
)
async def test_bodies_that_are_no_json(server: Running, made: Made, data: bytes) -> None:
    reply = await server.post(INFER, data)
    assert reply.status == 400
    assert "request is not valid V2 JSON" in reply.json["error"]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
async def test_binary_numbers_are_looked_at_too(server: Running, made: Made, value: float) -> None:
    raw = struct.pack("<3f", 1.0, value, 2.0)
    reply = await server.post(INFER, raw, headers={"Inference-Header-Content-Length": "0"})
    assert reply.status == 400
    assert "row 0, feature 'b' is" in reply.json["error"]


async def test_missing_values_pass_where_the_manifest_allows_them(server: Running, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store", nan=NanPolicy.ALLOW)
    await server.apply(routing(stable=made.ref))
    reply = await server.infer([1.0, None, 3.0])  # type: ignore[list-item]
    # this model cannot do anything with it, which is not the client's fault
    assert reply.status == 500
    assert "no model could score this row" in reply.json["error"]
    reply = await server.post(INFER, struct.pack("<3f", 1.0, math.inf, 2.0), headers={"Inference-Header-Content-Length": "0"})
    assert reply.status == 400
    assert "takes only numbers or NaN" in reply.json["error"]


@pytest.mark.parametrize(
    ("kind", "threshold", "base", "position"),
    [
        (DecisionKind.SIGN, 0.5, None, 1.0),
        (DecisionKind.SIGN, 0.99, None, 0.0),
        (DecisionKind.FILTER, 0.5, -0.75, 0.0),
        (DecisionKind.FILTER, 0.99, -0.75, -0.75),
        (DecisionKind.FILTER, 0.99, None, 0.0),
        (DecisionKind.SIZE, 0.5, None, pytest.approx(2 / (1 + math.exp(-2.0)) - 1, abs=1e-6)),
    ],
)
async def test_positions_follow_the_decision(
    server: Running, tmp_path: Path, kind: DecisionKind, threshold: float, base: float | None, position: float
) -> None:
    made = make_bundle(tmp_path / "store", weights=(1.0, 0.0, 0.0), kind=kind, threshold=threshold)
    await server.apply(routing(stable=made.ref))
    parameters = {} if base is None else {"base_position": base}
    assert (await server.infer([2.0, 0.0, 0.0], **parameters)).json["outputs"][1]["data"] == [position]


async def test_double_outputs_are_said_to_be_double(server: Running, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store", double=True)
    await server.apply(routing(stable=made.ref))
    answer = (await server.infer(list(made.golden.x[0]))).json
    assert answer["outputs"][0]["datatype"] == "FP64"
    assert answer["outputs"][0]["data"] == list(made.golden.p[0])


async def test_market_time_may_be_long_past(server: Running, made: Made) -> None:
    assert (await server.infer([0.0, 0.0, 0.0], ts=T0 - 1000 * HOUR_MS)).status == 200
