"""The watches are started again and again, and given up only after ten minutes in which no start lasted."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from virtual_time import run_virtual

from walkforward_operator import host
from walkforward_operator.cluster.kinds import JOB, POD, RETRAIN, ROLLOUT, Kind
from walkforward_operator.host import WATCHED, WatchError, Watches
from walkforward_operator.metrics import Metrics
from walkforward_operator.probes import serve


async def served(_: Kind) -> bool:
    return True


class Lives:
    """Stands for kopf: each life lasts as long as the next number says, then ends with an error."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.began: list[float] = []

    def __call__(self, *_: object) -> Lives:
        return self

    async def run(self) -> BaseException:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])
        return RuntimeError("watch ERROR 500")


def watches(metrics: Metrics | None = None) -> Watches:
    return Watches(["prod"], lambda *_: None, metrics=metrics or Metrics(), served=served)


def test_a_life_that_ends_is_followed_by_another_less_and_less_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        lives = Lives(0.0)
        monkeypatch.setattr(host, "_Session", lives)
        metrics = Metrics()
        with pytest.raises(WatchError, match="watch ERROR 500"):
            await watches(metrics).run()
        pauses = [round(later - earlier, 1) for earlier, later in zip(lives.began, lives.began[1:], strict=False)]
        assert pauses[:7] == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
        assert 590 < lives.began[-1] < 620
        assert f"watch_restarts_total {float(len(lives.began) - 1)}" in metrics.render().decode()

    run_virtual(main())


def test_a_life_that_lasted_starts_the_count_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        lives = Lives(*[0.0] * 30, 300.0, *[0.0] * 30, 10_000.0)
        monkeypatch.setattr(host, "_Session", lives)
        task = asyncio.create_task(watches().run())
        await asyncio.sleep(5_000)
        assert not task.done()
        task.cancel()

    run_virtual(main())


def test_without_its_crds_kopf_is_not_even_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        lives = Lives(10_000.0)
        monkeypatch.setattr(host, "_Session", lives)
        known: set[Kind] = set()

        async def asked(kind: Kind) -> bool:
            return kind in known

        one = Watches(["prod"], lambda *_: None, metrics=Metrics(), served=asked)
        task = asyncio.create_task(one.run())
        await asyncio.sleep(60)
        assert lives.began == []
        assert not one.up
        known.update(watch.kind for watch in WATCHED)
        await asyncio.sleep(20)
        assert len(lives.began) == 1
        assert one.up
        task.cancel()

    run_virtual(main())


def test_only_what_is_ours_is_watched() -> None:
    selectors = {watch.kind: watch.selector for watch in WATCHED}
    assert selectors[ROLLOUT] == selectors[RETRAIN] == ""
    assert selectors[JOB] == "app.kubernetes.io/managed-by=walkforward"
    assert selectors[POD] == "walkforward.dev/target"


def test_kopf_is_told_to_write_nothing_and_to_give_nothing_up() -> None:
    settings = host._settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert isinstance(settings.watching.server_timeout, int)
    delays = iter(settings.networking.error_backoffs)  # type: ignore[arg-type]
    drawn = [next(delays) for _ in range(200)]
    assert max(drawn) <= 6.0
    assert next(iter(settings.networking.error_backoffs)) < 0.4, "can be iterated again"  # type: ignore[arg-type]


async def test_probes_say_why() -> None:
    problems = {"ill": "", "unready": "the watches are not up yet"}
    probes = serve(0, metrics=Metrics(), ill=lambda: problems["ill"], unready=lambda: problems["unready"])
    async with probes as port, aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok\n")
        assert await get("/readyz") == (500, "the watches are not up yet\n")
        problems["ill"] = "a reconcile has been running for 400 s"
        assert (await get("/healthz"))[0] == 500
        status, text = await get("/metrics")
        assert status == 200
        assert "walkforward_workqueue_depth" in text
