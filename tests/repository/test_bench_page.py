"""Benchmarks: what is measured ends up on the page as it was measured, and nothing that was not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "dev" / "bench"
PEERS = BENCH / "peers"
PAGE = ROOT / "docs" / "benchmarks.md"


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    from walkforward_bench import page

    return page


def document(**figures: Any) -> dict[str, Any]:
    machine = {"cpus": 2, "system": "Debian 12", "python": "3.11.7", "load": 0.4}
    return {"measured": "2026-01-02 03:04 UTC", "commit": "abc1234", "machine": machine, "figures": figures}


def served(name: str, cpu_ms: float, p99: float) -> dict[str, Any]:
    return {"name": name, "cpu_ms": cpu_ms, "c1_p50_us": 100.0, "c1_p99_us": p99, "c16_rps": 1000.0, "requests": 9}


def server(mlserver_ms: float = 700.0) -> dict[str, Any]:
    rows = [served("one", 50, 200), served("price", 70, 210), served("receipt", 80, 220), served("MLServer 1.7.1, REST", mlserver_ms, 900)]
    return document(trees=100, features=30, ours=["one", "price", "receipt"], rows=rows, missing={"FastAPI": "no network"})


def verdict(text: str, what: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith(f"| {what}"))
    return line.split("|")[-2].strip()


def test_bars_say_met_not_met_or_that_nobody_measured(page: Any) -> None:
    text = page.bars({"server": server()})
    assert verdict(text, "server, one model") == "met"  # 700 / 50 = 14
    assert verdict(text, "server, candidate in the shadow, prices") == "met"  # 10
    assert verdict(text, "server, candidate in the shadow, receipts") == "**not met**"  # 8.75
    assert verdict(text, "server: our slowest") == "met"
    assert verdict(text, "demo, cold") == "–"
    assert verdict(page.bars({"server": server(699.0)}), "server, one model") == "**not met**"


def test_a_peer_that_is_missing_gives_no_ratio(page: Any) -> None:
    found = server()
    found["figures"]["rows"].pop()
    text = page.bars({"server": found})
    assert verdict(text, "server, one model") == "–"
    assert verdict(text, "server: our slowest") == "–"
    assert "FastAPI" in page.table("server", found["figures"])


def test_a_small_operator_run_does_not_pass_for_the_large_one(page: Any) -> None:
    names = ("rss_mb", "lease_writes_min", "other_writes_min", "reads_min", "cold_s", "observed_p99_ms", "burst_s", "restart_s")
    small = document(objects=999, **dict.fromkeys(names, 1.0))
    assert verdict(page.bars({"operator": small}), "operator: memory") == "–"
    large = document(objects=1000, **dict.fromkeys(names, 1.0))
    assert verdict(page.bars({"operator": large}), "operator: memory") == "met"
    assert verdict(page.bars({"operator": large}), "operator: other writes") == "**not met**"


def test_the_page_is_filled_from_what_was_kept_and_can_be_filled_again(page: Any, tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(json.dumps(server()))
    (tmp_path / "demo-warm.json").write_text(json.dumps(document(seconds=123.4, warm=True, built=[])))
    aborts = tmp_path / "abort-latency"
    assert "abort" not in page.kept(tmp_path, aborts)
    aborts.mkdir()
    drift = {"scenario": "drift", "reason": "PsiFailed", "decidedToVerifiedMs": 2500, "pods": 2}
    (aborts / "drift.json").write_text(json.dumps(drift))
    person = {"scenario": "a person", "orderToEveryPodMs": 344, "answeredToEveryPodMs": 331, "pods": 2}
    (aborts / "a person.json").write_text(json.dumps(person))
    found = page.kept(tmp_path, aborts)
    once = page.filled(PAGE.read_text(), found)
    assert page.filled(once, found) == once
    assert "Measured 2026-01-02 03:04 UTC at commit abc1234" in once
    assert re.search(r"\| MLServer 1\.7\.1, REST\s+\|\s+700 \|\s+14\.00 \|", once)
    assert re.search(r"\| drift\s+\|\s+PsiFailed \|\s+decided → verified \|\s+2 \|\s+2,500 ms \|", once)
    assert re.search(r"\| warm: nothing built\s+\|\s+123 s \|", once)
    assert re.search(r"\| cold: binaries and images built\s+\|\s+not measured yet \|", once)
    assert "<!-- measured: operator -->\n\n*not measured yet*\n" in once


def test_the_page_has_every_part(page: Any) -> None:
    blocks = re.findall(r"<!-- measured: (\w+) -->", PAGE.read_text())
    assert sorted(blocks) == sorted(["bars", "demo", *page._TABLES])
    assert PAGE.read_text().count("<!-- end -->") == len(blocks)


def test_a_block_that_nothing_fills_is_an_error(page: Any) -> None:
    with pytest.raises(ValueError, match="no part 'weather'"):
        page.filled("<!-- measured: weather -->\n<!-- end -->", {})


def test_a_busy_machine_is_said(page: Any) -> None:
    busy = server()
    busy["machine"]["load"] = 7.5
    assert "load average 7.5 as it began: a busy machine" in page.filled(PAGE.read_text(), {"server": busy})
    assert "a busy machine." not in page.filled(PAGE.read_text(), {"server": server()})


def test_requests_are_the_operators_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH)
    from walkforward_bench.resting import requests

    def line(verb: str, group: str, resource: str, count: int) -> str:
        return f'apiserver_request_total{{code="200",component="apiserver",group="{group}",resource="{resource}",verb="{verb}"}} {count}'

    text = "\n".join(
        [
            "# HELP apiserver_request_total Counter",
            line("PATCH", "coordination.k8s.io", "leases", 6),
            line("PUT", "coordination.k8s.io", "leases", 9),
            line("WATCH", "walkforward.dev", "modelrollouts", 2),
            line("GET", "walkforward.dev", "modelrollouts", 3),
            line("GET", "walkforward.dev", "modelrollouts", 4).replace("200", "404"),
            line("LIST", "", "secrets", 5),
        ]
    )
    assert requests(text) == {("PATCH", "leases"): 6, ("GET", "modelrollouts"): 7}


def run(*words: str, main: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with every part replaced by ``main``."""
    code = f"import sys; sys.argv = ['run.py', *{words!r}]; sys.path.insert(0, {str(BENCH)!r}); import run\n"
    code += "from walkforward_bench import page, record\nrecord.write = page.table = lambda *a, **k: ''\n"
    code += f"run.PARTS = {{name: (lambda name: lambda options: {main})(name) for name in run.PARTS}}\nsys.exit(run.main())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_all_parts_are_measured_and_one_that_fails_fails_the_run() -> None:
    every = run(main="print('did', name)")
    assert [line for line in every.stdout.splitlines() if line.startswith("did")] == [
        f"did {name}" for name in ("server", "trainer", "operator", "images")
    ]
    assert every.returncode == 0, every.stderr
    one = run(main="1 / 0 if name == 'trainer' else print('did', name)")
    assert one.returncode == 1
    assert "did operator" in one.stdout
    assert "ZeroDivisionError" in one.stderr
    named = run("images", main="print('did', name)")
    assert [line for line in named.stdout.splitlines() if line.startswith("did")] == ["did images"]
    wrong = run("image", main="0")
    assert wrong.returncode == 2
    assert "no part image; there are server, trainer, operator, images" in wrong.stderr


def test_peers_are_locked_with_hashes_and_name_no_registry() -> None:
    for name in ("mlserver", "fastapi"):
        text = (PEERS / f"{name}.txt").read_text()
        pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(pins) > 10
        assert all("==" in pin for pin in pins)
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
        assert "--index" not in text


def test_usage_counts_the_command_and_passes_its_status_on(tmp_path: Path) -> None:
    result = tmp_path / "usage.json"
    work = "import sys; block = bytearray(150_000_000); sum(range(3_000_000)); sys.exit(3)"
    ended = subprocess.run([sys.executable, "-I", "-S", PEERS / "usage.py", result, sys.executable, "-c", work], check=False)
    assert ended.returncode == 3
    used = json.loads(result.read_text())
    assert 140 < used["peak_mb"] < 300
    assert used["cpu_s"] > 0.01
    assert used["wall_s"] > 0
