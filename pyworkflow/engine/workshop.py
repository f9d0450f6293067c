"""What runs outside the workflow's loop for one run: its steps, and telling people about hooks."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Container, Mapping

from pyworkflow_core.payloads import ChildWorkflowStarted, Payload
from pyworkflow_core.replay import Child, HookCall, StepCall, step_text

from .attempt import Attempt, current_attempt
from .ending import value_bytes
from .engine import Engine
from .entries import Entries
from .execute import execute, failure
from .turn import Turn

log = logging.getLogger("pyworkflow")

Key = tuple[str, int]


class Workshop:
    """Executes steps as tasks and keeps what they report.

    Args:
        engine: what the process's runs share.
        run_id: the run.

    Attributes:
        reports: how steps ended, oldest first, until the drive takes them.
        entries: what steps want in the log while they run.
    """

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.reports: deque[Payload] = deque()
        self._engine = engine
        self._run_id = run_id
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._attempts: dict[Key, Attempt] = {}
        self._stopped: set[Key] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._waker: asyncio.Future[None] | None = None
        self._turns: deque[Turn] = deque()
        self._requests: dict[str, tuple[ChildWorkflowStarted, list[asyncio.Future[None]]]] = {}
        self._closed = False
        self._rung = False
        self.entries = Entries(self.wake_up)

    @property
    def next_turn(self) -> Turn | None:
        """The turn at the log that a step has waited for longest; it waits until it is given."""
        while self._turns and self._turns[0].has_ended:
            self._turns.popleft()
        return self._turns[0] if self._turns else None

    def _ask(self) -> Turn:
        if self._closed:
            raise asyncio.CancelledError("the run has been left")  # to a step that went on regardless
        turn = Turn()
        self._turns.append(turn)
        self.wake_up()
        return turn

    # ---- children that steps start -------------------------------------------------

    async def _start_child(self, wanted: ChildWorkflowStarted) -> None:
        """Wait until the log says that the child was started, and the child is there."""
        if self._closed:
            raise asyncio.CancelledError("the run has been left")
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._requests.setdefault(wanted.run_id, (wanted, []))[1]
        waiting.append(granted)
        self.wake_up()
        try:
            await granted
        finally:
            waiting.remove(granted)
            if not waiting and self._requests.get(wanted.run_id, (None, None))[1] is waiting:
                del self._requests[wanted.run_id]  # the step is wanted no longer

    def next_request(
        self, children: Mapping[str, Child], held: Container[str] = ()
    ) -> ChildWorkflowStarted | None:
        """The event to append for the next child that a step wants and that the run does not have.

        Those of the steps `held` have to wait.
        """
        for run_id, (wanted, _) in self._requests.items():
            if run_id not in children and wanted.step not in held:
                return wanted
        return None

    def grant(self, children: Mapping[str, Child]) -> None:
        """Let steps go on whose children are durable and there."""
        if not self._requests:
            return
        for run_id in [run_id for run_id in self._requests if run_id in children]:
            for granted in self._requests.pop(run_id)[1]:
                if not granted.done():
                    granted.set_result(None)

    @property
    def has_news(self) -> bool:
        """Whether there is something for the drive to deliver."""
        return bool(self.reports or self._requests or self.entries.has_news)

    @property
    def is_busy(self) -> bool:
        """Whether a step executes, or somebody is being told about a hook."""
        return bool(self._tasks or self._background)

    @property
    def only_waits(self) -> bool:
        """Whether every step that executes waits for somebody's answer."""
        waiting = self.entries.waiting_steps
        return bool(waiting) and waiting == len(self._tasks) and not self._background

    @property
    def next_bytes(self) -> int:
        """Bytes of the value in the next report, or of the largest entry; 0 if there is none."""
        entries = self.entries.next_bytes
        return max(value_bytes(self.reports[0]), entries) if self.reports else entries

    def begin(self, calls: list[StepCall], wanted: dict[Key, StepCall]) -> None:
        """Execute `calls` that the workflow still wants."""
        tasks = self._tasks
        for call in calls:
            key = (call.name, call.ordinal)
            if wanted.get(key) is call and key not in tasks:
                tasks[key] = asyncio.get_running_loop().create_task(self._step(key, call), name=call.name)

    def missing(self, calls: list[StepCall]) -> list[StepCall]:
        """Those of `calls` that neither execute here nor have reported."""
        reported = {(report.step, report.ordinal) for report in self.reports}  # type: ignore[attr-defined]
        known = reported.union(self._tasks)
        return [call for call in calls if (call.name, call.ordinal) not in known]

    def cancel_unwanted(self, wanted: Container[Key], reason: str | None = None) -> None:
        """Cancel steps that the workflow no longer waits for; once, so that they can clean up."""
        for key, task in self._tasks.items():
            if key not in wanted and key not in self._stopped:
                self._cancel(key, task, reason)

    # ---- steps that executed before their beginning was durable --------------------

    def is_executing(self, key: Key) -> bool:
        """Whether a step of this name and ordinal executes, or has not come to its end yet."""
        return key in self._tasks

    def adopt(self, key: Key, call: StepCall) -> None:
        """What executes is this call's attempt."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.call = call

    def disown(self, key: Key, reason: str) -> bool:
        """Nobody wants what executes under this key, nor what it says; False if it has ended already."""
        self.hush(key)
        task = self._tasks.get(key)
        if task is not None and key not in self._stopped:
            self._cancel(key, task, reason)
        return task is not None

    def hush(self, key: Key) -> None:
        """Drop what was reported under this key, and what it wants in the log."""
        step = step_text(*key)
        self.entries.forget(step)
        for run_id, (wanted, waiting) in list(self._requests.items()):
            if wanted.step == step:
                del self._requests[run_id]
                for granted in waiting:
                    granted.cancel()
        rest = [r for r in self.reports if (r.step, r.ordinal) != key]  # type: ignore[attr-defined]
        self.reports.clear()
        self.reports.extend(rest)

    def announce(self, hooks: list[HookCall]) -> None:
        """Tell people about hooks that are durable now."""
        for hook in hooks:
            if hook.on_created is not None:
                task = asyncio.get_running_loop().create_task(self._tell(hook))
                self._background.add(task)
                task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        self.wake_up()

    async def pause(self, wake: int | None) -> None:
        """Wait until a step ends, `wake_up` or `ring` is called, or it is time."""
        if self._rung:
            self._rung = False
            return
        self._waker = waker = asyncio.get_running_loop().create_future()
        alarm = None if wake is None else self._engine.clock.call_at(wake, self.wake_up)
        try:
            await waker
        finally:
            self._waker = None
            if alarm is not None:
                alarm.cancel()

    def wake_up(self) -> None:
        """End a pause."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    def ring(self) -> None:
        """End a pause; if there is none, the next one."""
        self._rung = self._waker is None
        self.wake_up()

    async def end(self, grace: int) -> None:
        """Cancel the steps and wait for them, `grace` microseconds at most. Threads go on unheard."""
        tasks = [*self._tasks.values(), *self._background]
        self._close(again=False)
        if tasks:
            await asyncio.wait(tasks, timeout=grace / 1e6)

    async def finish_telling(self, grace: int) -> None:
        """Let callbacks of hooks come to their end, `grace` microseconds at most."""
        if self._background:
            await asyncio.wait(self._background, timeout=grace / 1e6)

    def drop(self) -> None:
        """Cancel the steps without waiting; those that are still at their clean-up, once more."""
        self._close(again=True)

    def _close(self, *, again: bool) -> None:
        self._closed = True
        self.entries.close()
        for turn in self._turns:
            turn.cut_off()
        for _, waiting in self._requests.values():
            for granted in waiting:
                granted.cancel()
        self._requests.clear()
        for key, task in self._tasks.items():
            if again or key not in self._stopped:
                self._cancel(key, task, "its run has ended, or has left this process")
        for task in self._background:
            task.cancel()

    def _cancel(self, key: Key, task: asyncio.Task[None], reason: str | None) -> None:
        self._stopped.add(key)
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.stop(reason)
        # One that is cancelled before its first turn never comes to its own `finally`.
        task.cancel()
        task.add_done_callback(lambda ended: self._forget(key, ended))

    def _forget(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._stopped.discard(key)
            self.wake_up()

    async def _step(self, key: Key, call: StepCall) -> None:
        engine = self._engine
        how = engine.codec, engine.clock.now, engine.rng, engine.storage.limits
        attempt = Attempt(call, engine, self._ask, self._start_child, self.entries)
        current_attempt.set(attempt)
        self._attempts[key] = attempt
        try:
            report: Payload | None = await execute(call, *how)
            if attempt.turn is not None:
                report = await attempt.finish(report, lambda error: failure(call, error, *how))
            report = attempt.with_details(report)
            if report is not None:
                self.reports.append(report)
        finally:
            try:
                await attempt.close()
            finally:
                self._tasks.pop(key, None)
                self._attempts.pop(key, None)
                self._stopped.discard(key)
                attempt.end_turn()
                self.wake_up()

    async def _tell(self, hook: HookCall) -> None:
        assert hook.on_created is not None
        try:
            told = hook.on_created(hook.public_token)
            if inspect.isawaitable(told):
                await told
        except Exception:
            log.exception("run %s: on_created of hook %r failed", self._run_id, hook.name)
