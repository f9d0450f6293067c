"""What in a log is the code's doing, and what comes to it."""

from __future__ import annotations

from pyworkflow_core.payloads import PAYLOAD_CLASSES, EventType, PatchApplied
from pyworkflow_core.replay.past import _BY_CODE

COMES_TO_THE_CODE = {
    EventType.WORKFLOW_STARTED,
    EventType.WORKFLOW_INTERRUPTED,
    EventType.WORKFLOW_SUSPENDED,
    EventType.WORKFLOW_RESUMED,
    EventType.RUN_RECOVERED,
    EventType.CANCELLATION_REQUESTED,
    EventType.STEP_COMPLETED,
    EventType.STEP_FAILED,
    EventType.STEP_RETRYING,
    EventType.SLEEP_COMPLETED,
    EventType.TIMER_FIRED,
    EventType.HOOK_RECEIVED,
    EventType.HOOK_EXPIRED,
    EventType.CHILD_WORKFLOW_COMPLETED,
    EventType.CHILD_WORKFLOW_FAILED,
    EventType.CHILD_WORKFLOW_CANCELLED,
    EventType.DELIVERIES_MADE,
    EventType.SIGNAL_RECEIVED,
    EventType.HOOK_TOKEN_TAKEN,
    EventType.HOOK_REFUSED,
    EventType.STEP_HEARTBEAT,
    EventType.STEP_CHECKPOINT_SAVED,
    EventType.STEP_CHECKPOINT_DELETED,
    EventType.QUEUE_OPENED,
    EventType.SLOTS_CHANGED,
    EventType.DEDUPLICATION_ID_TAKEN,
    EventType.RUN_REOPENED,
    EventType.DEDUPLICATION_ID_TAKEN,
    EventType.QUEUE_OPENED,
    EventType.SLOTS_CHANGED,
}


def test_of_every_event_type_it_is_known_whether_the_code_brought_it_about() -> None:
    # A new type goes into `_BY_CODE` of pyworkflow_core/replay/past.py, or into the list above.
    by_code = {cls.TYPE for cls in _BY_CODE}
    assert by_code & COMES_TO_THE_CODE == set()
    assert by_code | COMES_TO_THE_CODE == {cls.TYPE for cls in PAYLOAD_CLASSES} - {PatchApplied.TYPE}
