"""Jobs and pods as the API server has them, reduced to what the engine looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from walkforward_operator.retrain.job import CONTAINER, KUEUE_QUEUE
from walkforward_operator.retrain.model import JobView, PodView
from walkforward_operator.retrain.schedule import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["job_view", "owner_uid", "pod_view"]

INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"


def owner_uid(body: Mapping[str, Any]) -> str:
    """Return the UID of the object's controller, empty without one."""
    owners = body["metadata"].get("ownerReferences") or ()
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def job_view(body: Mapping[str, Any]) -> JobView:
    """Return what a Job shows."""
    status = body.get("status") or {}
    end = next((c for c in status.get("conditions") or () if c["type"] in {"Complete", "Failed"} and c["status"] == "True"), None)
    return JobView(
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        owner_uid=owner_uid(body),
        suspended=bool(body.get("spec", {}).get("suspend")),
        queue=(body["metadata"].get("labels") or {}).get(KUEUE_QUEUE, ""),
        failed=int(status.get("failed") or 0),
        succeeded=int(status.get("succeeded") or 0),
        image=_image(body),
        took_ms=epoch_ms(status["completionTime"]) - epoch_ms(status["startTime"]) if status.get("completionTime") else 0,
        end=end["type"] if end else "",
        end_reason=(end.get("reason") or "") if end else "",
        end_message=(end.get("message") or "") if end else "",
    )


def _image(body: Mapping[str, Any]) -> str:
    containers = body.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
    return next((str(one["image"]) for one in containers if one["name"] == CONTAINER), "")


def pod_view(body: Mapping[str, Any]) -> PodView:
    """Return what a pod of a run's Job shows."""
    status = body.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    container: Mapping[str, Any] = next((c for c in status.get("containerStatuses") or () if c["name"] == CONTAINER), {})
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    scheduled, disrupted = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    index = (body["metadata"].get("annotations") or {}).get(INDEX_ANNOTATION, "")
    return PodView(
        name=body["metadata"]["name"],
        created_ms=epoch_ms(body["metadata"]["creationTimestamp"]),
        scheduled_ms=epoch_ms(scheduled["lastTransitionTime"]) if scheduled.get("status") == "True" else 0,
        phase=status.get("phase") or "Pending",
        image=container.get("image") or "",
        waiting=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        unschedulable=(scheduled.get("message") or "no node fits") if scheduled.get("status") == "False" else "",
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason") or "",
        exit_message=ended.get("message") or "",
        finished_ms=epoch_ms(ended["finishedAt"]) if ended.get("finishedAt") else 0,
        disrupted=disrupted.get("status") == "True",
        owner_uid=owner_uid(body),
        index=int(index) if index.isdecimal() else None,
    )
