"""Statistics against an independent recount, and the sums that two processes make."""

from __future__ import annotations

import asyncio
import base64
import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from bundles import make_bundle, score
from hypothesis import given
from hypothesis import strategies as st
from server_harness import HOUR, T0, measure, routing, running

from walkforward_core.drift import bin_index, edges_digest
from walkforward_core.evidence.rows import merge_pairs, merge_rows
from walkforward_core.pods import ModelRole
from walkforward_core.routing import OutcomeSource, bucket, salt_for
from walkforward_core.stats import Positions, StatsDocument
from walkforward_server.stats.book import FOLDED, KEPT_GENERATIONS, Book
from walkforward_server.stats.latency import GEOMETRIC_US, LatencyCounters, without_limit

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import Made
    from server_harness import Running

RNG = np.random.default_rng(7)


def two(folder: Path) -> tuple[Made, Made]:
    return make_bundle(folder, day=1), make_bundle(folder, day=2, weights=(0.5, -1.5, 0.7), seed=3)


def requests(count: int) -> list[dict[str, Any]]:
    """Requests over 40 clients, 2 symbols and bars that repeat, go back and have gaps."""
    made = []
    for number in range(count):
        ts = T0 + int(RNG.integers(0, count // 4)) * HOUR + int(RNG.integers(0, HOUR))
        row = [float(np.float32(value)) for value in RNG.standard_normal(3) * 1.5]
        if number % 17 == 0:
            row[0] = 60.0  # beyond anything in the reference
        symbol = "EURUSD" if number % 3 else "GBPUSD"
        made.append({"row": row, "client": f"c{number % 40}", "symbol": symbol, "ts": ts})
    return made


async def send(server: Running, many: list[dict[str, Any]]) -> list[Any]:
    client = server.client()
    answers = []
    for request in many:
        fields = dict(request)
        reply = await server.infer(fields.pop("row"), via=client, **fields)
        assert reply.status == 200, reply.body
        answers.append(reply.json)
    return answers


def recount(made: Made, many: list[dict[str, Any]]) -> dict[str, Any]:
    """What the row of one model must say about drift, counted without the server's code."""
    from walkforward_core.bundle import Reference

    reference = Reference.parse(made.files["reference.json"])
    newest: dict[str, int] = {}
    kept = []
    for request in many:
        bar = request["ts"] // HOUR
        if bar > newest.get(request["symbol"], -1):
            newest[request["symbol"]] = bar
            kept.append(request)
    rows = np.array([request["row"] for request in kept], np.float32)
    p = score(made.files["model.onnx"], rows)
    counts = []
    for index, feature in enumerate(reference.features):
        bins = Counter(bin_index(feature.edges, float(value)) for value in rows[:, index])
        counts.append([bins[number] for number in range(10)])
    bins = Counter(bin_index(reference.score.edges, float(value)) for value in p[:, 1])
    width = [feature.max - feature.min for feature in reference.features]
    return {
        "bars": {
            "distinct": len(kept),
            "undated": 0,
            "symbols": sorted(newest),
            "firstTs": min(request["ts"] for request in kept),
            "newestTs": max(request["ts"] for request in kept),
        },
        "features": {
            "edgesDigest": edges_digest(reference),
            "counts": counts,
            "missing": [0, 0, 0],
            "beyond": [
                int(((rows[:, i] < f.min - width[i]) | (rows[:, i] > f.max + width[i])).sum()) for i, f in enumerate(reference.features)
            ],
            "min": [float(v) for v in rows.min(axis=0)],
            "max": [float(v) for v in rows.max(axis=0)],
        },
        "score": [bins[number] for number in range(10)],
        "classes": [int((p[:, 1] <= p[:, 0]).sum()), int((p[:, 1] > p[:, 0]).sum())],
    }


async def test_rows_and_pairs_equal_an_independent_recount(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    salt = salt_for("uid", b.ref.digest)
    await server.apply(routing(generation=5, stable=a.ref, candidate=b.ref, weight=25, shadow=True, salt=salt, measure=measure()))
    many = requests(600)
    await send(server, many)
    stats = await server.stats(5)
    rows = {row["version"]: row for row in stats["rows"]}
    buckets = [bucket(request["client"], salt) for request in many]
    to_candidate = sum(number < 2500 for number in buckets)
    assert 0 < to_candidate < len(many)
    for made, role, exposed in ((a, "stable", len(many) - to_candidate), (b, "candidate", to_candidate)):
        row = rows[made.ref.version]
        assert (row["generation"], row["role"]) == (5, role)
        assert row["requests"] == {"exposed": exposed, "shadow": len(many) - exposed, "unkeyed": 0, "fallback": 0, "shadowSkipped": 0}
        expected = recount(made, many)
        assert {name: row[name] for name in expected} == expected
        bitmap = base64.b64decode(row["keys"])
        assert len(bitmap) == 256
        assert {bit for bit in range(2048) if bitmap[bit >> 3] >> (bit & 7) & 1} == {number % 2048 for number in buckets}
        assert sum(row["latency"]["counts"]) == exposed
        assert 80_000.0 in row["latency"]["le"]
    x = np.array([request["row"] for request in many], np.float32)
    ps, pc = (score(made.files["model.onnx"], x)[:, 1].astype(float) for made in (a, b))
    s, c = (np.where(p > 0.5, 1.0, -1.0) for p in (ps, pc))
    (pair,) = stats["pairs"]
    assert (pair["generation"], pair["stable"], pair["candidate"]) == (5, a.ref.version, b.ref.version)
    assert (pair["n"], pair["agree"]) == (600, int((s == c).sum()))
    assert pair["sumAbsDelta"] == pytest.approx(float(np.abs(pc - ps).sum()))
    positions = StatsDocument.parse(msgspec.json.encode(stats)).pairs[0].positions
    assert positions == Positions(n=600, sum_s=s.sum(), sum_c=c.sum(), sum_s2=600.0, sum_c2=600.0, sum_sc=(s * c).sum())


async def test_sequence_grows_and_counts_never_fall(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True))
    first = await server.stats()
    await send(server, requests(50))
    second = await server.stats()
    third = await server.stats()
    assert first["seq"] < second["seq"] < third["seq"]
    assert {**second, "seq": 0} == {**third, "seq": 0}
    assert first["boot"] == third["boot"]


async def test_two_processes_add_up(tmp_path: Path) -> None:
    """Every request goes to one of two pods; what both counted, merged by core, equals the recount of each added."""
    a, b = two(tmp_path / "store")
    many = requests(400)
    async with running(tmp_path / "p1") as one, running(tmp_path / "p2") as other:
        documents = []
        for server, part in ((one, many[::2]), (other, many[1::2])):
            await server.apply(routing(generation=3, stable=a.ref, candidate=b.ref, weight=5, shadow=True, measure=measure()))
            await send(server, part)
            documents.append(StatsDocument.parse(msgspec.json.encode(await server.stats())))
        assert documents[0].boot != documents[1].boot
        for order in (documents, documents[::-1]):
            rows = {row.version: row for row in merge_rows(row for document in order for row in document.rows)}
            (pair,) = merge_pairs(pair for document in order for pair in document.pairs)
            assert pair.n == 400
            for made in (a, b):
                halves = [recount(made, part) for part in (many[::2], many[1::2])]
                row = rows[made.ref.version]
                assert row.requests.exposed + row.requests.shadow == 400
                assert row.bars.distinct == sum(half["bars"]["distinct"] for half in halves)
                counts = np.array([half["features"]["counts"] for half in halves]).sum(axis=0)
                assert [list(bins) for bins in row.features.counts] == counts.tolist()


async def test_undated_rows_count_once_a_bar_of_arrival(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True, measure=measure()))
    client = server.client()
    for symbol in ("EURUSD", "EURUSD", "GBPUSD", "EURUSD"):
        await server.infer([0.1, 0.2, 0.3], via=client, symbol=symbol)
    for row in (await server.stats())["rows"]:
        assert 2 <= row["bars"]["distinct"] <= 3  # 3 if an hour ended meanwhile
        assert row["bars"]["undated"] == row["bars"]["distinct"]
        assert (row["bars"]["firstTs"], row["bars"]["newestTs"]) == (0, 0)


async def test_drift_counts_for_both_arms_or_for_neither(server: Running, tmp_path: Path) -> None:
    a = make_bundle(tmp_path / "store", day=1)
    b = make_bundle(tmp_path / "store", day=2, weights=(1, 1, 1), trap="nan")
    await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True, measure=measure()))
    await server.infer([200.0, 0.0, 0.0], symbol="EURUSD", ts=T0)
    await server.infer([1.0, 0.0, 0.0], symbol="EURUSD", ts=T0)
    rows = (await server.stats())["rows"]
    assert [row["bars"]["distinct"] for row in rows] == [1, 1]
    assert [row["features"]["max"][0] for row in rows] == [1.0, 1.0]


async def test_missing_values_are_counted_and_have_no_bin(server: Running, tmp_path: Path) -> None:
    from walkforward_core.bundle import NanPolicy

    made = make_bundle(tmp_path / "store", nan=NanPolicy.ALLOW, blind=True)
    await server.apply(routing(stable=made.ref, measure=measure()))
    for number, value in enumerate((None, 0.5, None)):
        reply = await server.infer([value, 0.0, 0.0], symbol="EURUSD", ts=T0 + number * HOUR)  # type: ignore[list-item]
        assert reply.status == 200, reply.body
    (row,) = (await server.stats())["rows"]
    assert row["features"]["missing"] == [2, 0, 0]
    assert [sum(bins) for bins in row["features"]["counts"]] == [1, 3, 3]
    assert row["features"]["min"][0] == 0.5


async def test_latency_slices_are_of_closed_ones_only(server: Running, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    await server.apply(routing(stable=made.ref, measure=measure(latency_ms=0.001, slice_ms=100)))
    client = server.client()
    for _ in range(4):
        for _ in range(5):
            await server.infer([0.0, 0.0, 0.0], via=client)
        await asyncio.sleep(0.11)
    (row,) = (await server.stats())["rows"]
    latency = row["latency"]
    assert latency["limitMs"] == 0.001
    assert latency["n"] == latency["k"] == sum(latency["counts"]) == 20
    assert latency["k2n"] == pytest.approx(20.0)
    assert 4 <= latency["slices"] <= 8


@given(st.lists(st.tuples(st.floats(1, 2e7), st.floats(0, 100)), max_size=200), st.floats(10, 1e7))
def test_latency_state_equals_its_definition(samples: list[tuple[float, float]], limit: float) -> None:
    samples = sorted(samples, key=lambda sample: sample[1])
    counters = LatencyCounters(limit, 0.5)
    for us, now in samples:
        counters.record(us, now)
    state = counters.snapshot(1000.0)
    by_slice: dict[int, list[float]] = {}
    for us, now in samples:
        by_slice.setdefault(int(now / 0.5), []).append(us)
    over = {key: sum(us > limit for us in values) for key, values in by_slice.items()}
    assert (state.n, state.k, state.slices) == (len(samples), sum(over.values()), len(by_slice))
    assert state.k2n == pytest.approx(sum(over[key] ** 2 / len(values) for key, values in by_slice.items()))
    edges = np.array(state.le)
    assert limit in state.le
    expected = np.bincount(np.searchsorted(edges, [us for us, _ in samples], side="left"), minlength=len(edges) + 1)
    assert list(state.counts) == expected.tolist()
    plain = np.bincount(np.searchsorted(GEOMETRIC_US, [us for us, _ in samples], side="left"), minlength=len(GEOMETRIC_US) + 1)
    assert without_limit(counters) == plain.tolist()


def test_running_slice_is_not_counted() -> None:
    counters = LatencyCounters(50.0, 10.0)
    counters.record(100.0, 3.0)
    assert counters.snapshot(9.9).slices == 0
    assert counters.snapshot(10.0).slices == 1


def test_buckets_are_fine_enough_for_a_p95() -> None:
    assert GEOMETRIC_US[0] == 25.0
    assert GEOMETRIC_US[-1] == 10e6
    assert max(b / a for a, b in itertools.pairwise(GEOMETRIC_US)) == pytest.approx(1.25, abs=1e-4)


def test_older_generations_are_folded_and_nothing_is_lost() -> None:
    book = Book()
    for generation in range(1, KEPT_GENERATIONS + 11):
        book.open(generation)
        row = book.row(generation, "v1", ModelRole.STABLE, None, measure(latency_ms=float(generation)))
        row.exposed += generation
        row.latency.record(100.0, 1.0)
        book.pair(generation, "v1", "v2").n += 1
    rows = {row.generation: row for row in book.rows(0, 0.0)}
    assert len(rows) == KEPT_GENERATIONS + 1
    assert rows[FOLDED].requests.exposed == sum(range(1, 11))
    assert sum(rows[FOLDED].latency.counts) == 10
    assert sum(row.requests.exposed for row in rows.values()) == sum(range(1, KEPT_GENERATIONS + 11))
    assert sum(pair.n for pair in book.pairs(0)) == KEPT_GENERATIONS + 10
    # the folded row comes along only while it holds a generation that was asked for
    assert FOLDED not in {row.generation for row in book.rows(11, 0.0)}
    assert FOLDED in {row.generation for row in book.rows(10, 0.0)}
    assert {row.generation for row in book.rows(70, 0.0)} == set(range(70, 75))


async def test_shadow_that_costs_too_much_is_sampled_and_said(server: Running, tmp_path: Path) -> None:
    a, b = two(tmp_path / "store")
    await server.apply(routing(stable=a.ref, candidate=b.ref, shadow=True, measure=measure()))
    candidate = server.node.engine.table.candidate
    assert candidate is not None
    real = candidate.model.score
    slow_s = 0.03

    def slow(row: bytes) -> list[float]:
        import time

        time.sleep(slow_s)
        return real(row)

    candidate.model.score = slow  # type: ignore[method-assign]
    client = server.client()
    for _ in range(60):
        assert (await server.infer([0.0, 0.0, 0.0], via=client)).status == 200
    rows = {row["role"]: row for row in (await server.stats())["rows"]}
    done = rows["candidate"]["requests"]
    assert done["shadow"] + done["shadowSkipped"] == 60
    assert done["shadowSkipped"] > 30
    assert done["shadow"] >= 3
    slow_s = 0.3
    for _ in range(3):
        await asyncio.sleep(1.3)
        await server.infer([0.0, 0.0, 0.0], via=client)
    assert (await server.get("/v1/routing", admin=True)).json["models"][b.ref.version]["reason"].startswith("ShadowStopped")


async def test_scrape_is_short_and_has_the_names_that_dashboards_know(server: Running, tmp_path: Path) -> None:
    features = [f"f{number}" for number in range(30)]
    a, b = (make_bundle(tmp_path / "store", features=features, weights=[w] * 30, day=day) for day, w in ((1, 0.1), (2, 0.11)))
    await server.apply(routing(stable=a.ref, candidate=b.ref, weight=50, shadow=True, measure=measure(OutcomeSource.PRICE)))
    client = server.client()
    for number in range(60):
        row = [float(value) for value in RNG.standard_normal(30)]
        await server.infer(row, via=client, client=f"c{number}", symbol="EURUSD", ts=T0 + number * HOUR)
    reply = await server.get("/ml/metrics", admin=True)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = reply.body.decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) < 100
    for name in ('ml_psi_score{feature="score",role="stable"}', "ml_shadow_match{", 'ml_predict_latency_ms_bucket{arm="stable",le="80"}'):
        assert name in text
    assert text.count("ml_psi_score{") == 12
    detail = (await server.get("/metrics?features=1", admin=True)).body.decode()
    assert detail.count("ml_psi_score{") == 62
    for line in samples:
        assert math.isfinite(float(line.rsplit(" ", 1)[1]))
    assert text == (await server.get("/metrics", admin=True)).body.decode()
