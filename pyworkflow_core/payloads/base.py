"""The names of the built-in event types, and what their payloads have in common."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from msgspec import Struct


class EventType(StrEnum):
    """Names of the built-in event types, as they stand in the log."""

    WORKFLOW_STARTED = "workflow_started"
    WORKFLOW_COMPLETED = "workflow_completed"
    WORKFLOW_FAILED = "workflow_failed"
    WORKFLOW_CANCELLED = "workflow_cancelled"
    WORKFLOW_INTERRUPTED = "workflow_interrupted"
    WORKFLOW_SUSPENDED = "workflow_suspended"
    WORKFLOW_RESUMED = "workflow_resumed"
    RUN_RECOVERED = "run_recovered"
    CANCELLATION_REQUESTED = "cancellation_requested"
    STEP_STARTED = "step_started"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    STEP_RETRYING = "step_retrying"
    STEP_CANCELLED = "step_cancelled"
    SLEEP_STARTED = "sleep_started"
    SLEEP_COMPLETED = "sleep_completed"
    SLEEP_CANCELLED = "sleep_cancelled"
    TIMER_FIRED = "timer_fired"
    HOOK_CREATED = "hook_created"
    HOOK_RECEIVED = "hook_received"
    HOOK_EXPIRED = "hook_expired"
    HOOK_DISPOSED = "hook_disposed"
    CHILD_WORKFLOW_STARTED = "child_workflow_started"
    CHILD_WORKFLOW_COMPLETED = "child_workflow_completed"
    CHILD_WORKFLOW_FAILED = "child_workflow_failed"
    CHILD_WORKFLOW_CANCELLED = "child_workflow_cancelled"
    CHILD_WORKFLOW_RELEASED = "child_workflow_released"
    WORKFLOW_CONTINUED_AS_NEW = "workflow_continued_as_new"
    DELIVERIES_MADE = "deliveries_made"
    RUN_REOPENED = "run_reopened"
    SIGNAL_RECEIVED = "signal_received"
    SIGNAL_SENT = "signal_sent"
    PATCH_APPLIED = "patch_applied"
    STEP_CONTEXT_SET = "step_context_set"
    STATE_PUBLISHED = "state_published"
    HOOK_TOKEN_TAKEN = "hook_token_taken"
    HOOK_REFUSED = "hook_refused"
    STEP_HEARTBEAT = "step_heartbeat"
    STEP_CHECKPOINT_SAVED = "step_checkpoint_saved"
    STEP_CHECKPOINT_DELETED = "step_checkpoint_deleted"
    SCHEDULE_CHANGED = "schedule_changed"
    QUEUE_OPENED = "queue_opened"
    SLOTS_CHANGED = "slots_changed"
    DEDUPLICATION_ID_TAKEN = "deduplication_id_taken"


class Payload(Struct, frozen=True, gc=False, omit_defaults=True):
    """Base of every payload class."""

    TYPE: ClassVar[EventType]
    VERSION: ClassVar[int] = 1
