"""Programs that use asyncio in every way a workflow may; each notes what it saw in `log`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator
from typing import Any

from recording import Program, hook, sleep, step

Log = list[Any]
PROGRAMS: dict[str, Program] = {}
_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


async def part(log: Log, i: int) -> Any:
    """Two steps, and a note of whatever ends it."""
    try:
        first = await step("first", i)
        log.append(("first", i, first))
        return await step("second", i)
    except BaseException as error:
        log.append((type(error).__name__, i, str(error)))
        raise


@program
async def plain_await(log: Log) -> Any:
    call = step("a", 1)
    first = await call
    log.append((first, await call, call.done(), call.result(), call.cancelled(), call.exception()))
    return [await step("a", 2), await step("a", 2), await step("b")]


@program
async def gather_of_calls(log: Log) -> Any:
    return await asyncio.gather(*[step("g", i) for i in range(5)])


@program
async def gather_of_coroutines(log: Log) -> Any:
    return await asyncio.gather(*[part(log, i) for i in range(4)])


@program
async def gather_with_exceptions_returned(log: Log) -> Any:
    found = await asyncio.gather(*[part(log, i) for i in range(4)], step("x"), return_exceptions=True)
    return [repr(item) for item in found]


@program
async def gather_that_is_cancelled(log: Log) -> Any:
    task = asyncio.gather(*[part(log, i) for i in range(3)], step("x"))
    try:
        await step("meanwhile")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ValueError):
            log.append(await task)
    return await step("after")


async def _wait(log: Log, when: str) -> Any:
    tasks = [asyncio.create_task(part(log, i)) for i in range(4)]
    done, pending = await asyncio.wait({*tasks, step("call")}, return_when=when)
    log.append(sorted(str(task.exception() or task.result()) for task in done))
    for task in pending:
        log.append(tasks.index(task) if task in tasks else "call")
        task.cancel()
    if pending:
        await asyncio.wait(pending)
    return await step("after")


@program
async def wait_for_the_first(log: Log) -> Any:
    return await _wait(log, asyncio.FIRST_COMPLETED)


@program
async def wait_for_all(log: Log) -> Any:
    return await _wait(log, asyncio.ALL_COMPLETED)


@program
async def wait_for_the_first_exception(log: Log) -> Any:
    return await _wait(log, asyncio.FIRST_EXCEPTION)


@program
async def wait_with_a_timeout(log: Log) -> Any:
    calls = [step("w", i) for i in range(3)]
    done, pending = await asyncio.wait(calls, timeout=2)
    return [len(done), len(pending), await step("after")]


@program
async def wait_for_one(log: Log) -> Any:
    for make in (lambda: step("w", 1), lambda: part(log, 2), lambda: asyncio.shield(step("w", 3))):
        try:
            log.append(await asyncio.wait_for(make(), 3))
        except TimeoutError:
            log.append("timeout")
    return await step("after")


@program
async def timeouts_one_in_another(log: Log) -> Any:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(6) as outer:
            try:
                async with asyncio.timeout(2):
                    log.append(await step("slow"))
            except TimeoutError:
                log.append("inner")
                outer.reschedule(asyncio.get_running_loop().time() + 3)
            log.append(await part(log, 1))
    log.append(outer.expired())
    try:
        async with asyncio.timeout(0):
            log.append(await step("no time"))
    except TimeoutError:
        log.append("no time")
    return await step("after")


@program
async def shields(log: Log) -> Any:
    inner = asyncio.create_task(part(log, 1))
    try:
        await asyncio.wait_for(asyncio.shield(inner), 1)
    except TimeoutError:
        log.append("outer gave up")
    return await inner


@program
async def locks_and_queues(log: Log) -> Any:
    lock, queue, event = asyncio.Lock(), asyncio.Queue[Any](2), asyncio.Event()
    gate, condition = asyncio.Semaphore(2), asyncio.Condition()

    async def produce(i: int) -> None:
        try:
            async with gate, lock:
                value = await step("p", i)
        except ValueError:
            value = "failed"
        await queue.put((i, value))
        async with condition:
            condition.notify_all()

    async def consume() -> None:
        for _ in range(5):
            log.append(await queue.get())
            queue.task_done()
        event.set()

    tasks = [asyncio.create_task(produce(i)) for i in range(5)] + [asyncio.create_task(consume())]
    async with condition:
        await condition.wait_for(lambda: bool(log))
    await event.wait()
    await queue.join()
    await asyncio.gather(*tasks)
    return len(log)


@program
async def task_groups(log: Log) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part(log, i)) for i in range(4)]
            tasks.append(group.create_task(step("call")))
    except* ValueError as errors:
        log.append(sorted(map(str, errors.exceptions)))
    log.append([task.cancelled() for task in tasks])
    return await step("after")


@program
async def sleeps(log: Log) -> Any:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.gather(asyncio.sleep(3), sleep(2), step("x"), return_exceptions=True)
    await asyncio.sleep(0)
    log.append(loop.time() - begun)
    loop.call_later(1.5, log.append, "called later")
    cancelled = loop.call_later(1, log.append, "never")
    await asyncio.sleep(1.25)
    cancelled.cancel()
    loop.call_soon(log.append, "soon")
    await asyncio.sleep(1)
    return loop.time() - begun


@program
async def tasks_of_calls(log: Log) -> Any:
    tasks = [asyncio.create_task(step("t", 1)), asyncio.ensure_future(step("t", 2))]
    tasks.append(asyncio.ensure_future(part(log, 3)))
    tasks[0].add_done_callback(lambda t: log.append("done"))
    for task in tasks:
        with contextlib.suppress(ValueError):
            log.append(await task)
    return await step("after")


@program
async def as_completed_over_calls(log: Log) -> Any:
    for next_one in asyncio.as_completed([step("c", i) for i in range(6)]):
        with contextlib.suppress(ValueError):
            log.append(await next_one)
    return log[-1:]


@program
async def as_completed_over_tasks(log: Log) -> Any:
    tasks = [asyncio.create_task(part(log, i)) for i in range(5)]
    with contextlib.suppress(TimeoutError):
        for next_one in asyncio.as_completed(tasks, timeout=9):
            with contextlib.suppress(ValueError):
                log.append(await next_one)
    return len(log)


async def _numbers(log: Log) -> AsyncIterator[Any]:
    try:
        for i in range(4):
            yield await step("n", i)
    finally:
        log.append("generator ended")


@program
async def asynchronous_generators(log: Log) -> Any:
    with contextlib.suppress(ValueError):
        async for number in _numbers(log):
            log.append(number)
    async with contextlib.aclosing(_numbers(log)) as numbers:  # type: ignore[type-var]
        with contextlib.suppress(ValueError):
            async for number in numbers:
                log.append(number)
                break
    log.append("left")
    with contextlib.suppress(ValueError):
        async for _ in _numbers(log):
            break
    return await step("after")


@program
async def context_variables(log: Log) -> Any:
    async def child(name: str) -> None:
        _variable.set(name)
        with contextlib.suppress(ValueError):
            await step("c", name)
        log.append((name, _variable.get()))

    _variable.set("parent")
    await asyncio.gather(child("a"), child("b"))
    return _variable.get()


@program
async def hooks_and_races(log: Log) -> Any:
    asked = asyncio.ensure_future(hook("approval", 4))
    worked = asyncio.create_task(part(log, 1))
    done, pending = await asyncio.wait([asked, worked], return_when=asyncio.FIRST_COMPLETED)
    for future in pending:
        future.cancel()
    with contextlib.suppress(TimeoutError):
        log.append(await hook("again", 1.5))
    return [asked in done, worked in done, await step("after")]


@program
async def cleanup_after_a_cancellation(log: Log) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(part(log, 1))
            await part(log, 2)
            await sleep(3)
    except asyncio.CancelledError as error:
        log.append(type(error).__name__)
        await step("clean up")
        raise
