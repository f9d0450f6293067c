"""The event loop of blocking calls: one for the process, in a thread of its own, made on first use.

A storage and an engine live on one loop. Were each call to make a loop, it would also open the
storage anew, and threads that share a storage would take it from each other.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_GRACE = 5.0


class LoopThread:
    """An event loop in a daemon thread. Its calls may come from any thread, and many at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._calls = 0

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop, and wait for it. Ctrl-C cancels it and waits for its end."""
        loop = self._enter()
        ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = loop.create_task(make())
            tasks.append(task)
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                ended.set_exception(asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                ended.set_exception(error)
            else:
                ended.set_result(task.result())

        # What the caller's context holds, such as the trace that it is part of, holds in the call.
        context = contextvars.copy_context()
        try:
            loop.call_soon_threadsafe(begin, context=context)
            try:
                return ended.result()
            except BaseException:
                if not ended.done():  # this thread was interrupted, and not the call
                    loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                    concurrent.futures.wait([ended])
                raise
        finally:
            self._leave(loop)

    def _enter(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            loop = self._loop
            if loop is None:
                loop = self._loop = asyncio.new_event_loop()
                name = "pyworkflow blocking calls"
                self._thread = threading.Thread(target=_serve, args=(loop,), name=name, daemon=True)
                self._thread.start()
                self._renew_threads(loop)
            self._calls += 1
            return loop

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls and self._loop is loop:
                self._renew_threads(loop)

    def _renew_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the loop an executor that has no threads yet: none stays behind between calls."""
        old, self._executor = self._executor, concurrent.futures.ThreadPoolExecutor()
        loop.call_soon_threadsafe(loop.set_default_executor, self._executor)
        if old is not None:
            loop.call_soon_threadsafe(functools.partial(old.shutdown, wait=False))

    def close(self) -> None:
        """End the loop, and what still runs on it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end(loop), loop)
        thread.join(_GRACE)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            continue
        break
    loop.close()


async def _end(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE / 2)
    loop.stop()


_thread = LoopThread()


def loop_thread() -> LoopThread:
    """The process's own."""
    return _thread


def _forget() -> None:
    global _thread  # noqa: PLW0603 - the child of a fork has no thread of its parent
    _thread = LoopThread()


def _close() -> None:
    _thread.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close)
