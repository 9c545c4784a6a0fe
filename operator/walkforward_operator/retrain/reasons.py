"""Reasons of a ModelRetrain: the one list that conditions, history, events and docs draw from.

The docstring of a member says what a person does about it; the reference documentation is generated from it.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["RetrainReason"]


class RetrainReason(StrEnum):
    """Why a ModelRetrain is in its phase."""

    # at rest
    IDLE = "Idle"
    """Nothing to do: nothing is due. `status.nextRun` says when the next run starts, if anything starts one."""
    SUSPENDED = "Suspended"
    """Nothing starts while `spec.suspend` is true; set it to false to go on."""

    # a run under way
    RUN_STARTED = "RunStarted"
    """Nothing to do: the Job of the run was asked for."""
    QUEUED = "Queued"
    """The Job waits for its turn in its queue (Kueue), or was suspended by hand: look at the queue's quota, or delete the Job."""
    POD_PENDING = "PodPending"
    """The pod waits for a node or for its images; the message says which. Free resources, or lower `spec.job.resources.requests`."""
    RUNNING = "Running"
    """Nothing to do: the trainer is at work."""
    GATHERING = "Gathering"
    """Nothing to do: the Job has ended and its result is being verified, or all symbols are prepared and the second Job begins."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    """The object store does not answer, so the result is not verified yet; it is asked again. Look at endpoint and credentials."""

    # how a run ended
    PUBLISHED = "Published"
    """Nothing to do: the bundle passed its gates and is `status.latestBundle`; a ModelRollout that follows takes it up."""
    CANDIDATE_REJECTED = "CandidateRejected"
    """Nothing is broken: the gates worked. The message has gate, value and threshold; better data, features or target are the remedy."""
    INELIGIBLE = "Ineligible"
    """Nothing to do: there is not enough data yet. The next occasion tries again; `force` of a manual run skips eligibility."""
    DRY_RUN = "DryRun"
    """Nothing to do: the dry or smoke run ended well; nothing was published."""
    CALIBRATED = "Calibrated"
    """Nothing to do: what execution costs was measured; runs with `costs.slippage.calibrated` count with it from now on."""

    # a run that failed
    BAD_DATA = "BadData"
    """The data failed a quality check (exit code 65); the message has its value and limit: correct the data or `spec.data.quality`."""
    BAD_CONFIGURATION = "BadConfiguration"
    """The trainer refused the configuration (exit code 78): the message names the field. Correct the spec."""
    TRAINER_BUG = "TrainerBug"
    """The trainer failed on an error of its own (exit code 70): read the pod's log and report it."""
    CRASHED = "Crashed"
    """The container ended without a result and with an exit code that the trainer does not give: read the pod's log."""
    TRANSIENT = "Transient"
    """Every attempt met a failure that may pass (exit code 75), such as a store away: wait for the next occasion, or run by hand."""
    RUN_FAILED = "RunFailed"
    """The run failed and its pod is gone, but its record is there: the message has its own words."""
    OUT_OF_MEMORY = "OutOfMemory"
    """The container was killed for its memory (exit code 137): raise `spec.job.resources.limits.memory`, or shorten `spec.data.window`."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The run took longer than `spec.job.activeDeadlineSeconds`: raise it, or give the Job more CPU."""
    IMAGE_PULL = "ImagePull"
    """The image could not be pulled: correct `spec.job.image` or the registry's access, then run again."""
    CONTAINER_CONFIG = "ContainerConfig"
    """The container could not be made, most often since the Secret of `spec.artifacts.secretName` is missing: create it, then run again."""
    JOB_REFUSED = "JobRefused"
    """The API server refuses the Job or its ConfigMap (quota, rights, admission), see the message; after two minutes the run fails."""
    JOB_CONFLICT = "JobConflict"
    """An object with the name of the run's Job belongs to somebody else: delete it, then run again."""
    JOB_LOST = "JobLost"
    """The Job is gone and left no result; somebody deleted it. Run again."""
    BAD_RESULT = "BadResult"
    """What the run reported is missing, malformed or contradicts itself: read the pod's log; use the trainer image of this release."""
    DIGEST_MISMATCH = "DigestMismatch"
    """The manifest in the store is not the one that the run reported, so nothing is published: look who may write into the bundle."""
    VERDICT_MISMATCH = "VerdictMismatch"
    """The operator judged the run's metrics by its gates to another verdict; nothing is published: use this release's trainer image."""

    # nothing can start
    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be read or can never work: the message names the field. Correct it."""
    IMAGE_NOT_ALLOWED = "ImageNotAllowed"
    """The installation does not allow `spec.job.image`: use one that the message names, or add it to `trainer.allowedImages`."""
    SECRET_NOT_ALLOWED = "SecretNotAllowed"
    """The installation does not allow `spec.artifacts.secretName`: use one that the message names, or add it to `allowedSecrets`."""
    URI_NOT_ALLOWED = "UriNotAllowed"
    """The installation does not allow this address: take one of the message, or extend `objectStore.bundleRoots`, `allowedUriPrefixes`."""
    FILE_REFUSED = "FileRefused"
    """`file://` means a pod's own disk in the cluster, which is not shared and does not last: use `s3://`."""
    JOB_SETTING_NOT_ALLOWED = "JobSettingNotAllowed"
    """`spec.job` asks for more than it may, the message says what: remove it, or add its prefix to `trainer.allowedMetadataPrefixes`."""
    BASELINE_AMBIGUOUS = "BaselineAmbiguous"
    """Several ModelRollouts follow this retrain: name the one whose stable model is the baseline in `spec.baselineFrom`."""
    BASELINE_MISSING = "BaselineMissing"
    """The ModelRollout of `spec.baselineFrom` does not exist: create it, or correct the name."""
    OVERRIDES_MISSING = "OverridesMissing"
    """The ConfigMap of `spec.overridesFrom`, or its key, is not there, so no run begins: create it, and the run begins by itself."""
    OVERRIDES_INVALID = "OverridesInvalid"
    """The overrides in the ConfigMap cannot be used; the message has the field. Correct them, and the run begins by itself."""
    RETENTION_SKIPPED = "RetentionSkipped"
    """The run deletes no old bundle, since it is not known which are in use; the message says why. The next run tries again."""

    # a manual run
    RUN_REFUSED = "RunRefused"
    """The annotation `walkforward.dev/run` was not carried out: the message says why. Write it again with a new `id`."""
