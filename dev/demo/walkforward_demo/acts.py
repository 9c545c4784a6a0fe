"""The four acts: what is applied, what must come of it, and how that is seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from walkforward_demo.bars import FIRST, SECOND, Bars
from walkforward_demo.install import NAMESPACE
from walkforward_demo.watch import ActFailed, Snapshot, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_demo.shell import Shell
    from walkforward_demo.view import View

__all__ = ["ACTS", "Stage"]

MANIFESTS = Path(__file__).resolve().parent.parent / "manifests"
TRAINING_S = 180.0


@dataclass(slots=True)
class Stage:
    """What the acts play on."""

    shell: Shell
    watch: Watch
    view: View
    bars: Bars
    image: str
    secret: str
    features: tuple[str, ...]

    def apply(self, name: str) -> None:
        """Apply one of the manifests, and say so as a person would type it."""
        self.view.say(f"$ kubectl apply -f dev/demo/manifests/{name}.yaml", "cyan")
        self.shell.apply((MANIFESTS / f"{name}.yaml").read_text())

    def run(self, retrain: str, run_id: str) -> None:
        """Ask for a run."""
        self.view.say(f'$ kubectl annotate modelretrain {retrain} walkforward.dev/run=\'{{"id":"{run_id}",…}}\'', "cyan")
        self.shell.annotate("modelretrain", retrain, "run", id=run_id, mode="Full", reason="demo")

    def patch(self, retrain: str, data: str) -> None:
        """Change where a retrain's data come from."""
        self.view.say(f'$ kubectl patch modelretrain {retrain} -p \'{{"spec":{{"data":{data}}}}}\'', "cyan")
        self.shell.kubectl("patch", "-n", "fx", "modelretrain", retrain, "--type=merge", "-p", f'{{"spec":{{"data":{data}}}}}')

    def approve(self, rollout: str, phase: str) -> None:
        """Give the approval that a rollout waits for."""
        version = self.watch.now.rollout(rollout)["approval"]["candidate"]
        self.view.say(f'$ kubectl annotate modelrollout {rollout} walkforward.dev/approve=\'{{"candidate":"{version}",…}}\'', "cyan")
        self.shell.annotate("modelrollout", rollout, "approve", id=f"approve-{phase}-{version}", candidate=version, phase=phase)

    def replay(self, name: str, model: str, *, per_bar: int) -> None:
        """Start a replayer."""
        self.view.say(f"replayer {name}: held-out bars from {self.bars.as_of(FIRST)} on, ten a second, {per_bar} requests each")
        values = {
            "NAME": name, "MODEL": model, "IMAGE": self.image, "SECRET": self.secret, "FEATURES": ",".join(self.features),
            "FIRST": FIRST, "RATE": 10, "PER_BAR": per_bar,
        }  # fmt: skip
        self.shell.kubectl("delete", "job", name, "-n", NAMESPACE, "--ignore-not-found")
        self.shell.apply(Template((MANIFESTS / "replayer.yaml").read_text()).substitute(values))
        self.watch.replayers.append(name)

    def published(self, retrain: str, before: str = "") -> str:
        """Wait for a newer published bundle, return its version."""

        def newest(now: Snapshot) -> str:
            return str((now.retrain(retrain).get("latestBundle") or {}).get("version", ""))

        def broken(now: Snapshot) -> str:
            status = now.retrain(retrain)
            return str(status.get("message", status["phase"])) if status.get("phase") in {"Failed", "Rejected", "Ineligible"} else ""

        self.watch.wait(f"{retrain} publishes", lambda now: newest(now) not in {"", before}, seconds=TRAINING_S, never=broken)
        return newest(self.watch.now)

    def stable(self, rollout: str, version: str, *, seconds: float) -> None:
        """Wait until a rollout rests on ``version``."""

        def rests(now: Snapshot) -> bool:
            status = now.rollout(rollout)
            return status.get("phase") == "Stable" and (status.get("stable") or {}).get("version") == version

        self.watch.wait(f"{rollout} is Stable on {version}", rests, seconds=seconds, never=lambda now: rolled_back(now, rollout))


def rolled_back(now: Snapshot, rollout: str) -> str:
    """Return why a rollout went back, if it did."""
    status = now.rollout(rollout)
    return str(status.get("message", "rolled back")) if status.get("phase") in {"RollingBack", "RolledBack"} else ""


def must(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Fail the act where something is not as it must be."""
    if not holds:
        raise ActFailed(what)


def first_model(stage: Stage) -> str:
    """A retrain publishes a bundle that passed its gates."""
    stage.apply("retrain-risk")
    stage.run("fx-risk", "first")
    version = stage.published("fx-risk")
    run = stage.watch.now.retrain("fx-risk")["history"][0]
    auc = run["metrics"]["auc"]
    must(run["verdict"] == "Published" and auc >= 0.62, f"the run says {run['verdict']} with AUC {auc}")
    return f"Published {version}: AUC {auc:.3f} against 0.62 asked for"


def walk(stage: Stage) -> str:
    """The first model goes live; a second one is walked through shadow, 5, 25 and 100 %, approved and promoted."""
    stage.apply("rollout-fx")
    first = stage.published("fx-risk")
    stage.watch.wait("fx asks for the first approval", lambda now: awaiting(now, "fx"), seconds=90)
    stage.approve("fx", "Bootstrap")
    stage.stable("fx", first, seconds=60)
    stage.replay("replayer-fx", "fx-server", per_bar=24)
    stage.watch.wait("the replayer is past the second retrain's data", lambda now: bar(now, "replayer-fx") > SECOND, seconds=120)
    stage.patch("fx-risk", f'{{"asOf":"{stage.bars.as_of(SECOND)}"}}')
    stage.run("fx-risk", "second")
    prepare_hurry(stage)
    second = stage.published("fx-risk", before=first)
    stage.watch.wait(
        "fx asks for the approval of 100 %", lambda now: awaiting(now, "fx"), seconds=300, never=lambda now: rolled_back(now, "fx")
    )
    stage.view.say(f"kubectl get modelrollouts -n {NAMESPACE}\n{stage.shell.kubectl('get', 'modelrollouts', '-n', NAMESPACE)}")
    stage.view.say(f"the rollout notices: {noticed(stage.watch.now, 'fx')}")
    must("margin" in noticed(stage.watch.now, "fx"), "nothing says how little a margin of 0.1 proves")
    stage.approve("fx", "100")
    stage.replay("replayer-fast", "fx-fast-server", per_bar=8)
    stage.stable("fx", second, seconds=120)
    said = stage.watch.now.replayers["replayer-fx"]
    weights = stage.watch.weights["fx"]
    must(said["failed"] == 0, f"{said['failed']} client requests failed: {said['failures']}")
    must([weight for weight in weights if weight] == [5, 25, 100], f"weights were {weights}")
    return f"{second} promoted over {first}; weights {', '.join(map(str, weights))}; {said['requests']:,} requests, none failed"


def no_edge(stage: Stage) -> str:
    """A model without an edge is rejected, and nothing reaches the rollout that waits for it."""
    stage.apply("rollout-direction")
    stage.apply("retrain-direction")
    stage.run("fx-direction", "first")
    stage.watch.wait(
        "fx-direction is judged",
        lambda now: now.retrain("fx-direction").get("phase") in {"Rejected", "Published", "Failed", "Ineligible"},
        seconds=TRAINING_S,
    )
    status = stage.watch.now.retrain("fx-direction")
    must(status["phase"] == "Rejected", f"the run says {status['phase']}: {status.get('message')}")
    must(not status.get("latestBundle"), "a rejected run has a bundle")
    must("auc" in status["message"] and "0.62" in status["message"], f"the message does not say which gate: {status['message']}")
    rollout = stage.watch.now.rollout("fx-direction")
    must(not rollout.get("stable") and not rollout.get("candidate"), "something reached the rollout")
    return f"Rejected: {status['message']}"


def prepare_hurry(stage: Stage) -> None:
    """Begin the fourth act's first model, while the second act waits for its evidence."""
    stage.view.say("meanwhile, for the fourth act: a rollout in a hurry gets its first model")
    stage.apply("retrain-fast")
    stage.run("fx-fast", "first")
    stage.apply("rollout-fast")


def foreign_unit(stage: Stage) -> str:
    """A candidate that learnt from another unit of volume passes offline; live, the PSI gate sends it back."""
    first = stage.published("fx-fast")
    stage.stable("fx-fast", first, seconds=90)
    stage.watch.wait("the replayer is past the second retrain's data", lambda now: bar(now, "replayer-fast") > SECOND, seconds=120)
    stage.patch("fx-fast", f'{{"uri":"s3://bars/eurusd-vendor.csv","asOf":"{stage.bars.as_of(SECOND)}"}}')
    stage.run("fx-fast", "vendor")
    second = stage.published("fx-fast", before=first)
    stage.watch.wait("fx-fast goes back", lambda now: now.rollout("fx-fast").get("phase") == "RolledBack", seconds=180)
    status, said = stage.watch.now.rollout("fx-fast"), stage.watch.now.replayers["replayer-fast"]
    ended, way_back = status["history"][0], status["rollback"]
    took = (datetime.fromisoformat(way_back["verifiedAt"]) - datetime.fromisoformat(way_back["at"])).total_seconds()
    must((ended["version"], ended["weight"]) == (second, 5), f"it was exposed to {ended['weight']} %, not to 5")
    must(stage.watch.now.weight("fx-fast") == 0 and status["stable"]["version"] == first, "stable does not serve everything")
    must("psi" in status["message"].lower(), f"not the PSI gate: {status['message']}")
    must(any(one["version"] == second for one in status["quarantine"]), "the candidate is not quarantined")
    must(said["failed"] == 0, f"{said['failed']} client requests failed: {said['failures']}")
    return f"{second} was exposed to 5 %, failed, and {took:.1f} s later every pod served stable alone: {ended['message']}"


def noticed(now: Snapshot, rollout: str) -> str:
    """Return what the gates noticed that is no verdict: here that the margin is wide, so a Pass says "not clearly worse" and no more."""
    conditions = now.rollout(rollout).get("conditions", [])
    return next((str(one["message"]) for one in conditions if one["type"] == "GateNotice"), "")


def awaiting(now: Snapshot, rollout: str) -> bool:
    """Return whether a rollout waits for a person."""
    return now.rollout(rollout).get("phase") == "AwaitingApproval"


def bar(now: Snapshot, replayer: str) -> int:
    """Return the bar that a replayer has come to."""
    return int(now.replayers.get(replayer, {}).get("bar", 0))


ACTS: tuple[tuple[str, Callable[[Stage], str]], ...] = (
    ("a risk model is trained, judged and published", first_model),
    ("it goes live; its successor is shadowed, walked, approved and promoted", walk),
    ("a direction model without an edge is rejected", no_edge),
    ("a model that learnt from a foreign unit is exposed at 5 % and sent back", foreign_unit),
)
