"""The programs whose histories are kept. They never change: a new idea is a new program."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from recording import Program, hook, sleep, step

Log = list[Any]
PROGRAMS: dict[str, Program] = {}


def program(function: Program) -> Program:
    PROGRAMS[function.__name__] = function
    return function


async def _pair(log: Log, i: int) -> Any:
    try:
        await step("one", i)
        return await step("two", i)
    except BaseException as error:
        log.append([type(error).__name__, i])
        raise


@program
async def in_order(log: Log) -> Any:
    return [await step("a"), await sleep(1.5), await step("b", "x"), await step("a")]


@program
async def gathered(log: Log) -> Any:
    found = await asyncio.gather(*[_pair(log, i) for i in range(4)], step("x"), return_exceptions=True)
    return [str(item) for item in found]


@program
async def first_wins(log: Log) -> Any:
    tasks = [asyncio.create_task(_pair(log, i)) for i in range(5)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(tasks)
    return [tasks.index(task) for task in done]


@program
async def waited_for(log: Log) -> Any:
    for i in range(3):
        try:
            log.append(await asyncio.wait_for(_pair(log, i), 3))
        except (TimeoutError, ValueError) as error:
            log.append(type(error).__name__)
    return await step("after")


@program
async def waited_for_in_parallel(log: Log) -> Any:
    waits = [asyncio.wait_for(_pair(log, i), 2 + i) for i in range(3)]
    waits.append(asyncio.wait_for(step("alone"), 1))
    found = await asyncio.gather(*waits, return_exceptions=True)
    return [type(item).__name__ for item in found]


@program
async def within_timeouts(log: Log) -> Any:
    try:
        async with asyncio.timeout(5):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    log.append(await _pair(log, 1))
            log.append(await _pair(log, 2))
    except TimeoutError:
        log.append("late")
    return await step("after")


@program
async def grouped(log: Log) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_pair(log, i)) for i in range(4)]
            tasks.append(group.create_task(asyncio.sleep(2)))
    except* ValueError as errors:
        log.append(len(errors.exceptions))
    return [task.cancelled() for task in tasks]


@program
async def shielded(log: Log) -> Any:
    inner = asyncio.create_task(_pair(log, 1))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(inner), 1)
    return await inner


@program
async def synchronised(log: Log) -> Any:
    lock, queue = asyncio.Lock(), asyncio.Queue[Any](1)

    async def produce(i: int) -> None:
        async with lock:
            with contextlib.suppress(ValueError):
                await step("p", i)
        await queue.put(i)

    tasks = [asyncio.create_task(produce(i)) for i in range(4)]
    found = [await queue.get() for _ in tasks]
    await asyncio.gather(*tasks)
    return found


@program
async def as_they_complete(log: Log) -> Any:
    for call in asyncio.as_completed([step("c", i) for i in range(5)]):
        with contextlib.suppress(ValueError):
            log.append(await call)
    return len(log)


@program
async def asked(log: Log) -> Any:
    with contextlib.suppress(TimeoutError):
        log.append(await hook("approval", 2))
    return await asyncio.gather(hook("second"), asyncio.sleep(1), step("x"), return_exceptions=False)


@program
async def cleaned_up(log: Log) -> Any:
    try:
        await asyncio.gather(_pair(log, 1), sleep(4), asyncio.sleep(2))
    finally:
        log.append(await step("clean up"))
