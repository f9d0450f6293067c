"""The Redis backend: the storage contract in calls of scripts, one for each thing that must be atomic."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from pyworkflow_core.description import describe_storage
from pyworkflow_core.errors import (
    CorruptLog,
    OutcomeUnknown,
    StorageClosed,
    StorageUnavailable,
    UnsupportedSchema,
)
from pyworkflow_core.events import Event
from pyworkflow_core.record import RunRecord
from pyworkflow_core.storage import (
    Answer,
    Append,
    Capabilities,
    Claim,
    FeedPage,
    Page,
    Refused,
    RunQuery,
    StorageBackend,
)

from . import claims, commits, feed, link, listing, namespace, scripts, settings, words
from .connections import Command, Lost, Unreachable
from .keys import bucket_of, bucket_tags, channel, slot_of
from .namespace import Layout
from .options import Address, read_url
from .push import Listener
from .removal import remove_keys
from .rows import decode_events, decode_row, find_unfit
from .scripts import Script
from .topology import Topology, make_topology

GRAVE_SECONDS = 7 * 24 * 3600
"""How long it is known that a run was deleted, so that a late first append does not bring it back."""

_BEYOND = 2**53
_TURNS = 5


class Session:
    """What a handle has in one event loop.

    Args:
        topology: the servers.
        where: the channel of wake-ups.
    """

    def __init__(self, topology: Topology, where: str) -> None:
        self.topology = topology
        self.listener = Listener(topology, where)

    async def close(self) -> None:
        """Close every connection."""
        await self.listener.close()
        await self.topology.close()

    def abandon(self) -> None:
        """The same where the event loop runs no more."""
        self.listener.abandon()
        self.topology.abandon()


class RedisStorageBackend(StorageBackend):
    """Keeps runs in Redis or Valkey.

    Args:
        url: ``redis://``, ``rediss://``, ``redis+sentinel://`` or ``redis+cluster://``, with options.
        reroute: where to connect to instead of an address that sentinels or nodes tell, as behind
            a tunnel; takes and returns host and port.
        options: the options of `pyworkflow_redis.options.Options` by name; they win over the URL's.

    Raises:
        ConfigurationError: the URL or an option cannot work.
    """

    capabilities = Capabilities(multi_process=True, server=True, push=True)

    def __init__(
        self, url: str, *, reroute: Callable[[Address], Address] | None = None, **options: Any
    ) -> None:
        self._target, self.options = read_url(url, options)
        self._reroute = reroute
        self._sessions: dict[asyncio.AbstractEventLoop, Session] = {}
        self._seal: link.Seal | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target.shown!r})"

    # ---- opening and closing ---------------------------------------------------------

    async def _open(self) -> None:
        for loop in [loop for loop in self._sessions if loop.is_closed()]:
            self._sessions.pop(loop).abandon()
        loop = asyncio.get_running_loop()
        if loop in self._sessions:
            return
        session = self._sessions[loop] = self._connect()
        try:
            facts = await settings.look(session.topology)
            settings.check(facts, self.options)
            new = namespace.plan(self.options, self._target.kind, len(facts))
            self._take(facts, await namespace.settle(self._ask, self.options, new))
        except BaseException:
            self._sessions.pop(loop, None)
            await session.close()
            raise

    def _connect(self) -> Session:
        topology = make_topology(self._target, self.options, self._reroute)
        return Session(topology, channel(self.options.namespace))

    def _take(self, facts: list[settings.Facts], layout: Layout) -> None:
        """Take what was found out: how to commit, where runs are, and what can be promised."""
        self._layout = layout
        self._tags = bucket_tags(self.options.namespace, layout.buckets)
        self._slots = [slot_of(tag) for tag in self._tags]
        self._seal = settings.seal(facts, self.options)
        self.capabilities = Capabilities(
            durable=settings.is_durable(facts, self.options),
            multi_process=True,
            server=True,
            feed=layout.feed,
            push=True,
            due_order="shard" if layout.buckets > 1 else "global",
            failover_loss=settings.failover_loss(facts, self._target.kind, self.options),
        )

    async def _close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for loop, session in sessions.items():
            if loop is asyncio.get_running_loop():
                await session.close()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(session.close(), loop)
            else:
                session.abandon()

    async def describe(self) -> list[str]:
        """What the servers' settings mean for runs, how the namespace was made, and what is promised.

        A namespace that nobody has made is described as it would be made.
        """
        try:
            await self._ready()
        except UnsupportedSchema as error:
            if error.found != 0:
                raise
            session = self._connect()
            try:
                facts = await settings.look(session.topology)
            finally:
                await session.close()
            self._take(facts, namespace.plan(self.options, self._target.kind, len(facts)))
        else:
            facts = await settings.look(self._servers)
        own = [*words.describe(facts, self.options), self._layout.describe(self.options.namespace)]
        return [*own, *describe_storage(self.capabilities, self.limits)]

    async def drop(self) -> None:
        """Remove the namespace with all runs in it. It looks at every key of the servers."""
        await self._ready()
        try:
            for server in self._servers.primaries:
                await remove_keys(server, self.options.namespace)
        except (Unreachable, Lost) as error:
            raise StorageUnavailable(str(error)) from error

    @property
    def _session(self) -> Session:
        session = self._sessions.get(asyncio.get_running_loop())
        if session is None:
            raise StorageClosed(f"{self!r} is closed; open a new one")
        return session

    @property
    def _servers(self) -> Topology:
        return self._session.topology

    # ---- asking ----------------------------------------------------------------------

    async def _ask(self, calls: Sequence[link.Call], *, again: bool = True) -> list[Any]:
        """The answers to calls that cannot fail by halves.

        Raises:
            StorageError: one of them failed.
        """
        answers = await link.ask(self._servers, calls, again=again)
        for answer in answers:
            if isinstance(answer, Exception):
                raise link.typed(answer) from answer
        return answers

    async def _ask_most(self, script: Script, asked: list[tuple[int, tuple[Any, ...]]]) -> list[Any]:
        """The answers of a script in buckets, once; None where one fails, since the others do without it.

        Raises:
            StorageError: all of them failed.
        """
        calls = [self._call(script, bucket, *arguments) for bucket, arguments in asked]
        answers = await link.ask(self._servers, calls, again=False)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        if failures and len(failures) == len(calls):
            raise link.typed(failures[0]) from failures[0]
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    def _call(self, script: Script, bucket: int, *arguments: object) -> link.Call:
        return self._slots[bucket], script.call(f"{self._tags[bucket]}?", *arguments)

    async def _run(self, script: Script, run_id: str, *arguments: object, again: bool = True) -> Any:
        """The answer of a script in a run's bucket."""
        call = self._call(script, bucket_of(run_id, len(self._tags)), *arguments)
        return (await self._ask([call], again=again))[0]

    async def _ask_run(self, run_id: str, *commands: Command) -> list[Any]:
        """The answers to plain commands; the first argument of each lacks the tag of the run's bucket."""
        bucket = bucket_of(run_id, len(self._tags))
        slot, tag = self._slots[bucket], self._tags[bucket]
        return await self._ask([(slot, (name, tag + key, *rest)) for name, key, *rest in commands])

    # ---- the contract ----------------------------------------------------------------

    async def _commit(self, appends: Sequence[Append], within: Any) -> list[Answer]:
        answers: dict[str, Answer] = {}
        buckets: dict[int, list[Append]] = {}
        count = len(self._tags)
        for append in appends:
            if (error := find_unfit(append)) is not None:
                answers[append.run_id] = Refused(append.run_id, error)
            else:
                buckets.setdefault(bucket_of(append.run_id, count), []).append(append)
        parts = [(bucket, part) for bucket, fit in buckets.items() for part in commits.in_parts(fit)]
        fixed = (int(self._layout.feed), int(self._seal is not None), channel(self.options.namespace))
        calls = [
            self._call(scripts.COMMIT, bucket, len(part), *fixed, *commits.arguments(part))
            for bucket, part in parts
        ]
        said = await link.ask(self._servers, calls, seal=self._seal)
        failures = []
        for (_, part), answer in zip(parts, said, strict=True):
            if isinstance(answer, Exception):
                failures.append((part, answer))
            else:
                answers |= {a.run_id: a for a in commits.read_answers(part, answer)}
        if failures:
            answers |= commits.read_failures(failures, len(failures) == len(parts))
        return [answers[append.run_id] for append in appends]

    async def _read(self, run_id: str, after: int, limit: int | None) -> list[Event]:
        if after >= _BEYOND:
            return []
        last = -1 if limit is None else after + min(limit, _BEYOND) - 1
        for _ in range(_TURNS):
            row, entries = await self._ask_run(
                run_id, ("GETRANGE", f"r:{run_id}", 0, 19), ("LRANGE", f"e:{run_id}", after, last)
            )
            head = int(row.partition(b"\0")[0] or 0)
            least = max(0, head - after)
            if len(entries) >= (least if limit is None else min(least, limit)) and (head or not entries):
                return decode_events(run_id, after, entries)
            # It was made or deleted between the two; or else the log is damaged.
        raise CorruptLog(f"run {run_id!r}: its log has not as many events as its head says", location=run_id)

    async def _get(self, run_id: str) -> RunRecord | None:
        (row,) = await self._ask_run(run_id, ("GET", f"r:{run_id}"))
        return None if row is None else decode_row(run_id, row)

    async def _find(self, query: RunQuery, cursor: str | None, limit: int) -> Page:
        return await listing.find(self._ask_buckets(scripts.FIND), len(self._tags), query, cursor, limit)

    def _ask_buckets(self, script: Script) -> Callable[[list[tuple[int, tuple[Any, ...]]]], Any]:
        return lambda asked: self._ask([self._call(script, bucket, *words) for bucket, words in asked])

    async def _claim(
        self, owner: str, now: int, lease: int, limit: int, queues: tuple[str, ...] | None, run_id: str | None
    ) -> list[Claim]:
        named = tuple(dict.fromkeys(queues or ()))
        if run_id is None:
            return await claims.claim(self._ask_most, len(self._tags), owner, now, lease, limit, named)
        until, token = now + lease, secrets.token_hex(8)
        words = (now, until, run_id, token, owner, *named)
        row = await self._run(scripts.CLAIM_RUN, run_id, *words, again=False)
        return [] if row is None else [Claim(run_id, owner, token, until, decode_row(run_id, row))]

    async def _extend(self, claim: Claim, until: int) -> bool:
        return await self._set_lease(claim, until)

    async def _release(self, claim: Claim) -> bool:
        return await self._set_lease(claim, "")

    async def _set_lease(self, claim: Claim, until: int | str) -> bool:
        where = channel(self.options.namespace)
        return bool(await self._run(scripts.SET_LEASE, claim.run_id, claim.run_id, claim.token, until, where))

    async def _delete(self, run_id: str, expected: int) -> None:
        call = self._call(
            scripts.DELETE,
            bucket_of(run_id, len(self._tags)),
            run_id,
            expected,
            int(time.time()),
            GRAVE_SECONDS,
        )
        # Not again: by then the id may be another run's.
        (answer,) = await link.ask(self._servers, [call], again=False)
        if isinstance(answer, Lost):
            raise OutcomeUnknown(f"run {run_id!r} may or may not have been deleted: {answer}") from answer
        if isinstance(answer, Exception):
            raise link.typed(answer) from answer
        if answer != 1:
            raise ValueError(
                f"run {run_id!r}: its head is {answer.decode()}, not {expected}; nothing was removed"
            )

    async def _feed(self, after: str | None, limit: int) -> FeedPage:
        tag, buckets = self._layout.tag, len(self._tags)
        if limit == 0:
            return FeedPage([], feed.write_position(tag, feed.read_position(after, tag, buckets)))
        return await feed.read(self._ask_buckets(scripts.FEED), tag, buckets, after, limit)

    async def _wait(self, timeout: int) -> None:
        await self._session.listener.wait(timeout)


def open_url(url: str) -> RedisStorageBackend:
    """Make a handle from a URL."""
    return RedisStorageBackend(url)
