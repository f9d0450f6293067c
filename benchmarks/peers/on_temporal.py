"""The replay of Temporal's Python SDK: its Replayer over a history of as many activities, without a server.

Six events for each activity, as a server would have written them. The runner without a sandbox is the
quicker one.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import time
from typing import Any

from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

with workflow.unsafe.imports_passed_through():
    from work import READS, REPLAY, STEPS, place, tell


@workflow.defn
class Many:
    @workflow.run
    async def run(self, n: int) -> int:
        for i in range(n):
            await workflow.execute_activity("work", i, start_to_close_timeout=datetime.timedelta(seconds=60))
        return n


def payload(value: Any) -> dict[str, Any]:
    def coded(data: str) -> str:
        return base64.b64encode(data.encode()).decode()

    return {"payloads": [{"metadata": {"encoding": coded("json/plain")}, "data": coded(json.dumps(value))}]}


class History:
    """Events as the server's export has them."""

    def __init__(self, activities: int) -> None:
        self.events: list[dict[str, Any]] = []
        queue = {"name": "q", "kind": "Normal"}
        self.add(
            "WorkflowExecutionStarted",
            workflowType={"name": "Many"},
            taskQueue=queue,
            input=payload(activities),
            workflowTaskTimeout="10s",
            attempt=1,
            originalExecutionRunId="577fbf9c-bed0-4fcb-b582-3e7447adeca6",
            firstExecutionRunId="577fbf9c-bed0-4fcb-b582-3e7447adeca6",
        )
        decided = self.task(queue)
        for i in range(activities):
            scheduled = self.add(
                "ActivityTaskScheduled",
                activityId=str(i + 1),
                activityType={"name": "work"},
                taskQueue=queue,
                input=payload(i),
                startToCloseTimeout="60s",
                scheduleToCloseTimeout="0s",
                scheduleToStartTimeout="0s",
                heartbeatTimeout="0s",
                workflowTaskCompletedEventId=decided,
            )
            ids = {"scheduledEventId": scheduled, "identity": "x"}
            started = self.add("ActivityTaskStarted", requestId="r", attempt=1, **ids)
            self.add(
                "ActivityTaskCompleted", result=payload({"ok": True, "i": i}), startedEventId=started, **ids
            )
            decided = self.task(queue)
        self.add(
            "WorkflowExecutionCompleted", result=payload(activities), workflowTaskCompletedEventId=decided
        )

    def add(self, kind: str, **attributes: Any) -> str:
        event = {"eventId": str(len(self.events) + 1), "eventTime": "2026-01-01T00:00:00.000Z"}
        event |= {"eventType": kind, "version": "0", "taskId": str(1000 + len(self.events))}
        self.events.append({**event, f"{kind[0].lower()}{kind[1:]}EventAttributes": attributes})
        return str(len(self.events))

    def task(self, queue: dict[str, str]) -> str:
        scheduled = self.add("WorkflowTaskScheduled", taskQueue=queue, startToCloseTimeout="10s", attempt=1)
        ids = {"scheduledEventId": scheduled, "identity": "x"}
        started = self.add("WorkflowTaskStarted", requestId="r", **ids)
        return self.add("WorkflowTaskCompleted", startedEventId=started, **ids)


async def measure() -> None:
    for store, settings in (
        ("history, no sandbox", {"workflow_runner": UnsandboxedWorkflowRunner()}),
        ("history, sandbox", {}),
    ):
        replayer = Replayer(workflows=[Many], **settings)
        await replayer.replay_workflow(
            WorkflowHistory.from_json("w", json.dumps({"events": History(3).events}))
        )
        history = WorkflowHistory.from_json("w", json.dumps({"events": History(STEPS).events}))
        began = time.perf_counter()
        await replayer.replay_workflow(history)
        tell(store, REPLAY, time.perf_counter() - began, READS)


if __name__ == "__main__":
    with place():
        asyncio.run(measure())
