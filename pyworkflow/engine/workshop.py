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
from .pump import Job
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
        jobs: steps that are about to begin.
        turns: turns at the log that steps asked for and that may have ended.
        requests: children that steps want, by their run ids.
        entries: what steps want in the log while they run.
    """

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.reports: deque[Payload] = deque()
        self._engine = engine
        self._run_id = run_id
        self._tasks: dict[Key, asyncio.Task[None] | None] = {}  # None: it is about to begin
        self.jobs: deque[tuple[Key, StepCall]] = deque()
        self._attempts: dict[Key, Attempt] = {}
        self._stopped: set[Key] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._waker: asyncio.Future[None] | None = None
        self.turns: deque[Turn] = deque()
        self.requests: dict[str, tuple[ChildWorkflowStarted, list[asyncio.Future[None]]]] = {}
        self._closed = False
        self._rung = False
        self.entries = Entries(self.wake_up)

    @property
    def next_turn(self) -> Turn | None:
        """The turn at the log that a step has waited for longest; it waits until it is given."""
        while self.turns and self.turns[0].has_ended:
            self.turns.popleft()
        return self.turns[0] if self.turns else None

    def _ask(self) -> Turn:
        if self._closed:
            raise asyncio.CancelledError("the run has been left")  # to a step that went on regardless
        turn = Turn()
        self.turns.append(turn)
        self.wake_up()
        return turn

    # ---- children that steps start -------------------------------------------------

    async def _start_child(self, wanted: ChildWorkflowStarted) -> None:
        """Wait until the log says that the child was started, and the child is there."""
        if self._closed:
            raise asyncio.CancelledError("the run has been left")
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self.requests.setdefault(wanted.run_id, (wanted, []))[1]
        waiting.append(granted)
        self.wake_up()
        try:
            await granted
        finally:
            waiting.remove(granted)
            if not waiting and self.requests.get(wanted.run_id, (None, None))[1] is waiting:
                del self.requests[wanted.run_id]  # the step is wanted no longer

    def next_request(
        self, children: Mapping[str, Child], held: Container[str] = ()
    ) -> ChildWorkflowStarted | None:
        """The event to append for the next child that a step wants and that the run does not have.

        Those of the steps `held` have to wait.
        """
        for run_id, (wanted, _) in self.requests.items():
            if run_id not in children and wanted.step not in held:
                return wanted
        return None

    def grant(self, children: Mapping[str, Child]) -> None:
        """Let steps go on whose children are durable and there."""
        if not self.requests:
            return
        for run_id in [run_id for run_id in self.requests if run_id in children]:
            for granted in self.requests.pop(run_id)[1]:
                if not granted.done():
                    granted.set_result(None)

    @property
    def has_news(self) -> bool:
        """Whether there is something for the drive to deliver."""
        return bool(self.reports or self.requests or self.entries.has_news)

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
        """Let `calls` that the workflow still wants begin with `begin_jobs`."""
        tasks = self._tasks
        for call in calls:
            key = (call.name, call.ordinal)
            if wanted.get(key) is call and key not in tasks:
                tasks[key] = None
                self.jobs.append((key, call))

    async def begin_jobs(self) -> None:
        """Begin what is about to; from a drive that a `Pump` runs."""
        waits = False
        while self.jobs:
            key, call = self.jobs.popleft()
            job = Job(self._step(key, call), self._tasks, key, call.name)
            if waits:
                # So will the others, probably: they begin together, not one after the other.
                job.begin_in_a_task()
            else:
                await job.begin()
                waits = job.waits

    def missing(self, calls: list[StepCall]) -> list[StepCall]:
        """Those of `calls` that neither execute here nor have reported."""
        reported = {(report.step, report.ordinal) for report in self.reports}  # type: ignore[attr-defined]
        known = reported.union(self._tasks)
        return [call for call in calls if (call.name, call.ordinal) not in known]

    def cancel_unwanted(self, wanted: Container[Key], reason: str | None = None) -> None:
        """Cancel steps that the workflow no longer waits for; once, so that they can clean up."""
        for key, task in list(self._tasks.items()):
            if key in wanted or key in self._stopped:
                continue
            if task is None:
                self._forget_job(key)
            else:
                self._cancel(key, task, reason)

    def _forget_job(self, key: Key) -> None:
        if key in self._tasks and self._tasks[key] is None:
            del self._tasks[key]
            self.jobs = deque(job for job in self.jobs if job[0] != key)

    def forget_jobs(self) -> None:
        """Begin no step any more; those that were about to are somebody else's."""
        for key, _ in self.jobs:
            del self._tasks[key]
        self.jobs.clear()

    # ---- steps that executed before their beginning was durable --------------------

    def is_executing(self, key: Key) -> bool:
        """Whether a step of this name and ordinal executes, or has not come to its end yet."""
        return key in self._tasks

    def adopt(self, key: Key, call: StepCall) -> None:
        """What executes is this call's attempt."""
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.call = call
        self.jobs = deque((known, call if known == key else job) for known, job in self.jobs)

    def disown(self, key: Key, reason: str) -> bool:
        """Nobody wants what executes under this key, nor what it says; False if it has ended already."""
        self.hush(key)
        self._forget_job(key)
        task = self._tasks.get(key)
        if task is not None and key not in self._stopped:
            self._cancel(key, task, reason)
        return task is not None

    def hush(self, key: Key) -> None:
        """Drop what was reported under this key, and what it wants in the log."""
        step = step_text(*key)
        self.entries.forget(step)
        for run_id, (wanted, waiting) in list(self.requests.items()):
            if wanted.step == step:
                del self.requests[run_id]
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
        """Wait until a step ends, `wake_up` or `ring` is called, or it is time; not while one is to begin."""
        if self._rung or self.jobs:
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
        self._close(again=False)
        tasks = [task for task in (*self._tasks.values(), *self._background) if task is not None]
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
        for turn in self.turns:
            turn.cut_off()
        for _, waiting in self.requests.values():
            for granted in waiting:
                granted.cancel()
        self.requests.clear()
        self.forget_jobs()
        for key, task in self._tasks.items():
            if task is not None and (again or key not in self._stopped):
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
            attempt.close()
            try:
                if attempt.turn is not None:
                    await attempt.undo()
            finally:
                self._tasks.pop(key, None)
                self._attempts.pop(key, None)
                self._stopped.discard(key)
                attempt.end_turn()
                if self._waker is not None:
                    self.wake_up()

    async def _tell(self, hook: HookCall) -> None:
        assert hook.on_created is not None
        try:
            told = hook.on_created(hook.public_token)
            if inspect.isawaitable(told):
                await told
        except Exception:
            log.exception("run %s: on_created of hook %r failed", self._run_id, hook.name)
