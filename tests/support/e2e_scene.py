"""One scenario: its namespace, its model servers, its rollout, the traffic that is played, and what is kept when it went wrong."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from e2e_kube import await_true, item
from e2e_recorder import Recorder
from e2e_rules import exposure
from e2e_stage import CHARTS, ROOT, SECRET, WORK, tag

from walkforward_core.features import OHLCV
from walkforward_core.names import ADMIN_PORT, ROUTING_KEY, TARGET_LABEL, routing_name
from walkforward_core.pods import ModelState, PodReport
from walkforward_demo.shell import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from e2e_models import Model
    from e2e_stage import Stage
    from kube import Kube

    from walkforward_core.routing import RoutingDocument

__all__ = ["FAST", "LIVE_GATES", "TARGET", "WEIGHTS", "Scene"]

Object = dict[str, Any]
TARGET = "fx"
ROLLOUT = "fx"
WEIGHTS = (5, 25, 100)
FIRST_LIVE_BAR = 2_320
"""The candidate's asOf: neither model has seen what is played from here on."""
LIVE_GATES: Object = {"psi": {}, "errorRate": {}}
"""Gates that decide within seconds of dense traffic; scenarios that are about another one add it."""
FAST: Object = {
    "phases": [{"weight": weight, "duration": "8s"} for weight in WEIGHTS],
    "watch": {"duration": "6s"},
    "maxHold": "10m",
}
"""A plan without a shadow, so that a fault comes under exposure."""
RATE = 20
PER_BAR = 4


@dataclass
class Scene:
    """What a scenario acts on; ``stable`` is the version that its first model has."""

    stage: Stage
    kube: Kube
    scenario: str
    plan: tuple[int, ...] = WEIGHTS
    recorder: Recorder = field(init=False)
    pods_http: httpx.Client = field(init=False)
    _replayers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clear()
        self.recorder = Recorder(Path(self.stage.kubeconfig), self.namespace, TARGET, ROLLOUT)
        self.recorder.start()
        self.pods_http = httpx.Client(timeout=2.0)

    @property
    def namespace(self) -> str:
        return f"e2e-{self.scenario}"

    @property
    def folder(self) -> Path:
        return WORK / self.scenario

    @property
    def status(self) -> Object:
        return self.recorder.status

    def model(self, name: str) -> Model:
        return self.stage.models[name]

    def _clear(self) -> None:
        """Remove what a run before this one has left on a kept cluster: a rollout would find its stable model there."""
        rollouts = f"/apis/walkforward.dev/v1alpha1/namespaces/{self.namespace}/modelrollouts"
        for path in (rollouts, rollouts.replace("rollouts", "retrains")):
            self.kube.request("DELETE", path)
        await_true("the old rollout is gone", lambda: not self.kube.request("GET", rollouts).json()["items"], 60)
        maps = f"/api/v1/namespaces/{self.namespace}/configmaps"
        for found in self.kube.request("GET", maps).json()["items"]:
            if found["metadata"]["name"].startswith(f"{TARGET}-"):
                self.kube.request("DELETE", f"{maps}/{found['metadata']['name']}").raise_for_status()

    # what a user does

    def serve(self, *, replicas: int = 2) -> None:
        """Install the model servers by Helm, as a user does."""
        self.stage.shell.helm(
            "upgrade", "--install", TARGET, str(CHARTS / "model-server"), "-n", self.namespace, "--set", f"fullnameOverride={TARGET}",
            "--set", f"replicas={replicas}", "--set", f"image.tag={tag(self.stage, 'server')}", "--set", "drainSeconds=4",
        )  # fmt: skip

    def roll(self, model: str, **spec: Any) -> None:
        """Create the ModelRollout with a pinned bundle, or change what it is pinned to."""
        body = {"target": {"deployment": TARGET}, "source": self.source(model), "strategy": FAST, "gates": LIVE_GATES, **spec}
        self.plan = tuple(phase["weight"] for phase in body["strategy"]["phases"])
        answer = self.kube.apply(item("ModelRollout", self.namespace, ROLLOUT, spec=body))
        assert answer.is_success, answer.text

    def source(self, model: str) -> Object:
        made = self.model(model)
        return {"bundle": {"uri": made.uri, "digest": made.digest}}

    def offer(self, model: str) -> str:
        """Pin another bundle: the next candidate; return its version."""
        self.change(spec={"source": self.source(model)})
        return self.model(model).version

    def change(self, **fields: Any) -> None:
        """Merge into the ModelRollout."""
        answer = self.kube.patch(item("ModelRollout", self.namespace, ROLLOUT), fields)
        assert answer.is_success, answer.text

    def act(self, verb: str, **members: str) -> None:
        """Ask for an action as the person that the certificate names."""
        value = json.dumps({"id": f"{verb}-{time.time_ns()}", **members, "by": self._who()})
        self.change(metadata={"annotations": {f"walkforward.dev/{verb}": value}})

    def run_retrain(self, name: str, run: str) -> None:
        """Ask a ModelRetrain for a run."""
        value = json.dumps({"id": run, "mode": "Full", "reason": "a scenario", "by": self._who()})
        change = {"metadata": {"annotations": {"walkforward.dev/run": value}}}
        answer = self.kube.patch(item("ModelRetrain", self.namespace, name), change)
        assert answer.is_success, answer.text

    def _who(self) -> str:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self.kube.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(answer.json()["status"]["userInfo"]["username"])

    def replay(self, *, first: int = FIRST_LIVE_BAR, rate: float = RATE, per_bar: int = PER_BAR, **env: str) -> str:
        """Start playing bars against the Service."""
        name = f"replayer-{len(self._replayers) + 1}"
        script = (ROOT / "dev" / "demo" / "replayer" / "replayer.py").read_text()
        self.kube.apply(item("ConfigMap", self.namespace, "replayer", data={"replayer.py": script})).raise_for_status()
        values = {
            "BARS_URI": "s3://bars/eurusd.csv", "SERVER_URL": f"http://{TARGET}:8080", "MODEL": TARGET, "FEATURES": ",".join(OHLCV),
            "FIRST_BAR": str(first), "BARS_PER_SECOND": str(rate), "REQUESTS_PER_BAR": str(per_bar), **env,
        }  # fmt: skip
        self.kube.apply(_job(self.namespace, name, self.stage.tags["trainer"], values)).raise_for_status()
        self._replayers.append(name)
        return name

    def begin(self, model: str = "stable", *, replicas: int = 2, replay: Mapping[str, Any] | None = None, **spec: Any) -> str:
        """Bring the first model live and traffic onto it; return its version."""
        self.serve(replicas=replicas)
        self.roll(model, **spec)
        version = self.model(model).version
        if spec.get("approval", {}).get("required"):
            self.until("asked for the first model", lambda: self.status.get("phase") == "AwaitingApproval", 60)
            self.act("approve", candidate=version, phase="Bootstrap")
        self.until_stable(version, 90)
        await_true("the Service answers", lambda: self.all_ready(replicas) and self.answering(), 60)
        self.replay(**(replay or {}))
        await_true("traffic flows", lambda: self.traffic().get("requests", 0) > 100, 45)
        return version

    # what is waited for

    def until(self, what: str, holds: Callable[[], object], seconds: float, *, may_roll_back: bool = False) -> None:
        self.recorder.wait(what, holds, seconds, None if may_roll_back else self._rolled_back)

    def until_stable(self, version: str, seconds: float) -> None:
        """Wait until nothing is on trial and ``version`` serves."""

        def rests() -> bool:
            return self.status.get("phase") == "Stable" and (self.status.get("stable") or {}).get("version") == version

        self.until(f"{version} is stable", rests, seconds)

    def until_weight(self, weight: int, seconds: float = 60) -> None:
        """Wait until ``weight`` is in the routing document."""
        self.until(f"weight {weight}", lambda: self.recorder.weight == weight, seconds)

    def until_applied(self, weight: int, seconds: float = 60) -> None:
        """Wait until ``weight`` is verified on every pod: then the status has it and the soak clock runs."""

        def applied() -> bool:
            walk = self.status.get("walk") or {}
            return self.recorder.weight == weight and self.status.get("weight") == weight and bool(walk.get("verifiedAt"))

        self.until(f"weight {weight} verified", applied, seconds)

    def until_rolled_back(self, seconds: float) -> Object:
        """Wait until the way back is done; return the status."""
        self.until("rolled back", lambda: self.status.get("phase") == "RolledBack", seconds, may_roll_back=True)
        return self.status

    def _rolled_back(self) -> str:
        status = self.status
        return str(status.get("message", "rolled back")) if status.get("phase") in {"RollingBack", "RolledBack"} else ""

    # what is looked at

    def conditions(self) -> set[str]:
        """Types of the conditions that hold now."""
        return {one["type"] for one in self.status.get("conditions", ()) if one["status"] == "True"}

    def addresses(self) -> list[str]:
        return [pod["status"].get("podIP", "") for pod in self.pods()]

    def pods(self) -> list[Object]:
        """The server pods that are not on their way out."""
        answer = self.kube.request("GET", f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=f"{TARGET_LABEL}={TARGET}")
        answer.raise_for_status()
        return [pod for pod in answer.json()["items"] if "deletionTimestamp" not in pod["metadata"]]

    def report(self, address: str) -> PodReport | None:
        """What the pod at ``address`` says of itself, None where it does not answer."""
        try:
            answer = self.pods_http.get(f"http://{address}:{ADMIN_PORT}/v1/routing")
        except httpx.HTTPError:
            return None
        return PodReport.parse(answer.content) if answer.is_success else None

    def answering(self) -> bool:
        """Whether the Service has a pod behind it: readiness reaches the node's rules a moment after the pod's status."""
        service = self.kube.get(item("Service", self.namespace, TARGET)).json()
        try:
            return self.pods_http.get(f"http://{service['spec']['clusterIP']}:8080/v2/health/ready").is_success
        except httpx.HTTPError:
            return False

    def infer(self, body: Object) -> Object:
        """Return the Service's answer to one V2 request; empty where it gives none."""
        service = self.kube.get(item("Service", self.namespace, TARGET)).json()
        try:
            answer = self.pods_http.post(f"http://{service['spec']['clusterIP']}:8080/v2/models/{TARGET}/infer", json=body)
        except httpx.HTTPError:
            return {}
        found: Object = answer.json() if answer.is_success else {}
        return found

    def verdict(self, name: str, wanted: str, *, after: str = "") -> Object:
        """Wait for the end of the newest run of a ModelRetrain, later than the run ``after``; return its record."""
        retrain = item("ModelRetrain", self.namespace, name)
        found: list[Object] = []

        def ended() -> bool:
            found[:] = self.kube.get(retrain).json().get("status", {}).get("history", [])
            return bool(found) and found[0]["run"] != after

        await_true(f"run of {name} ends", ended, 150)
        assert found[0]["verdict"] == wanted, found[0]
        return found[0]

    def all_ready(self, count: int) -> bool:
        pods = self.pods()
        return len(pods) == count and all(_ready(pod) for pod in pods)

    def only_serves(self, address: str, version: str) -> bool:
        """Whether the pod at ``address`` names ``version`` alone, and has it ready."""
        report = self.report(address)
        return report is not None and list(report.models) == [version] and report.models[version].state is ModelState.READY

    def traffic(self, replayer: str = "") -> Object:
        """The newest word of a replayer, the newest one by default; empty before its first."""
        pods = self.kube.request(
            "GET", f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=f"job-name={replayer or self._replayers[-1]}"
        ).json()["items"]
        for pod in pods:
            path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/log"
            answer = self.kube.request("GET", path, tailLines="1")
            line = answer.text.strip()
            if answer.is_success and line.startswith("{"):
                said: Object = json.loads(line)
                return said
        return {}

    # what must hold

    def check(self) -> Object:
        """Assert what must hold in every scenario; return the newest replayer's last word."""
        said: Object = {}
        for name in self._replayers:
            said = self.traffic(name)
            assert said, f"{name} says nothing"
            assert said["failed"] == 0, f"{said['failed']} of {said['requests']} client requests failed: {said['failures']}"
            assert said["requests"] > 100, said
        broken = self.recorder.broken_rules(self.plan)
        assert not broken, f"{broken}; seen {self.told()}"
        return said

    def answers(self) -> dict[str, int]:
        """Return how many requests each version answers from now on, over a second or so of the newest replayer."""
        first = self._newer({})
        # this line was printed after the call, so that nothing earlier is in what comes after it
        start = self._newer(first)
        end = self._newer(start)
        return {name: end["versions"][name] - start["versions"].get(name, 0) for name in end["versions"]}

    def _newer(self, known: Object) -> Object:
        """Wait for another word of the newest replayer."""
        found: list[Object] = []

        def newer() -> bool:
            found[:] = [self.traffic()]
            return bool(found[0]) and found[0]["requests"] > known.get("requests", 0)

        await_true("traffic goes on", newer, 20)
        return found[0]

    def check_stable_serves(self, version: str) -> None:
        """Assert that from now on nothing but ``version`` answers, and that nothing is on trial."""
        assert exposure(self.recorder.document) == ("", 0), self.recorder.told()
        stable = self.recorder.document.stable
        assert stable is not None
        assert stable.version == version
        others = {name: count for name, count in self.answers().items() if name != version and count}
        assert not others, f"others than {version} still answer: {others}"

    def told(self) -> str:
        """The exposures of every candidate, in order."""
        return "; ".join(
            f"{seen.document.generation}: {exposure(seen.document)[0] or '-'} {exposure(seen.document)[1]}"
            for seen in self.recorder.history
        )

    # by hand

    def routing(self) -> Object:
        """The routing ConfigMap as it is."""
        found: Object = self.kube.get(item("ConfigMap", self.namespace, routing_name(TARGET))).json()
        return found

    def write_routing(self, document: RoutingDocument, *groups: str) -> httpx.Response:
        """Write the routing document as a person of those groups, past the operator."""
        text = document.to_bytes()
        self.recorder.written_by_hand.add(hashlib.sha256(text).hexdigest())
        person = self.kube.as_user("oncall@example.com", *groups)
        return person.patch(item("ConfigMap", self.namespace, routing_name(TARGET)), {"data": {ROUTING_KEY: text.decode()}})

    # the end

    def close(self) -> None:
        """Stop the traffic and free the node for the next scenario."""
        self.recorder.stop()
        self.pods_http.close()
        for name in self._replayers:
            self.kube.request("DELETE", f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{name}", {"propagationPolicy": "Background"})
        self.kube.delete(item("ModelRollout", self.namespace, ROLLOUT))
        self.kube.patch(item("Deployment", self.namespace, TARGET), {"spec": {"replicas": 0}})

    def keep_evidence(self) -> None:
        """Write down what there is to see of a scenario that went wrong."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{seen.at:.3f} {seen.document.to_bytes().decode()}{' BY HAND' if seen.by_hand else ''}" for seen in self.recorder.history]
        self._keep("routing-history.txt", "\n".join(lines))
        self._keep("phases.txt", "\n".join(f"{at:.3f} {phase}" for at, phase in self.recorder.phases))
        self._keep("rollout.json", json.dumps(self.recorder.rollout, indent=1))
        for name, words in {
            "objects.yaml": ("get", "modelretrains,modelrollouts,configmaps,jobs,pods,deployments", "-o", "yaml"),
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
            "replayer.txt": ("logs", "-l", "app=replayer", "--tail=30"),
        }.items():
            self._kubectl(name, "-n", self.namespace, *words)
        for pod in self.pods():
            name, address = pod["metadata"]["name"], pod["status"].get("podIP", "")
            self._kubectl(f"{name}.log", "-n", self.namespace, "logs", name, "--tail=500")
            self._kubectl(f"{name}-before.log", "-n", self.namespace, "logs", name, "--tail=500", "--previous")
            for page in ("v1/routing", "v1/stats?from=0"):
                try:
                    self._keep(f"{name}-{page[3:8]}.json", self.pods_http.get(f"http://{address}:{ADMIN_PORT}/{page}").text)
                except httpx.HTTPError as error:
                    self._keep(f"{name}-{page[3:8]}.json", f"{type(error).__name__}: {error}")
        system = f"walkforward-{self.scenario}" if self.scenario.startswith("op-") else "walkforward-system"
        self._kubectl("operator.log", "-n", system, "logs", "-l", "app.kubernetes.io/name=walkforward", "--tail=3000")
        self._kubectl("operator-before.log", "-n", system, "logs", "-l", "app.kubernetes.io/name=walkforward", "--tail=1000", "--previous")

    def _kubectl(self, file: str, *words: str) -> None:
        try:
            self._keep(file, self.stage.shell.kubectl(*words))
        except CommandError as error:
            self._keep(file, f"could not be had: {error}")

    def _keep(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text + "\n")


def _ready(pod: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def _job(namespace: str, name: str, image: str, env: Mapping[str, str]) -> Object:
    """The Job that plays the bars, under the restrictions of its namespace."""
    container = {
        "name": "replayer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "/etc/replayer/replayer.py"],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "100Mi"}, "limits": {"memory": "600Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "script", "mountPath": "/etc/replayer"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "script", "configMap": {"name": "replayer"}}, {"name": "tmp", "emptyDir": {}}],
    }
    spec = {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": "replayer"}}, "spec": pod}}
    return item("Job", namespace, name, spec=spec)
