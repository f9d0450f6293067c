"""The statements that every database understands: built and compiled once, executed by each driver.

SQLAlchemy's machinery for one execution costs more than the database's work for one append.
So statements are compiled once to the text and the order of parameters that a driver takes,
and handed to the driver itself. A statement keeps its SQLAlchemy form too, which is what is
executed within a user's own transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    ColumnElement,
    Dialect,
    Select,
    and_,
    bindparam,
    column,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from .schema import Tables, Words

RECORD = (
    "run_id", "incarnation", "head", "status", "workflow", "queue", "priority",
    "created_at", "updated_at", "wake_at", "parent", "attributes", "rest",
)  # fmt: skip
LEASE = ("token", "owner", "lease_until")
WRITTEN = (*RECORD, *LEASE)
LOCKED = ("run_id", "head", "incarnation", *LEASE, "buried")
SETTLED = ("status", "workflow", "queue", "priority", "created_at", "wake_at", "parent", "attributes")
"""What most appends leave as it is. Every index is of these, and the lease."""


pick_settled = itemgetter(*[f"new_{name}" for name in SETTLED])


class Statement:
    """One statement, compiled for a driver.

    Args:
        core: the statement.
        dialect: whose text and parameters to make.

    Attributes:
        core: the statement.
        sql: its text for the driver.
        names: its parameters, in the order in which the driver takes them.
        returns: whether it answers with rows; it answers with their number otherwise.
    """

    __slots__ = ("_given", "_pick", "core", "names", "returns", "sql")

    def __init__(self, core: ClauseElement, dialect: Dialect) -> None:
        compiled: Any = core.compile(dialect=dialect)
        self.core: Any = core
        self.sql: str = compiled.string
        self.names: tuple[str, ...] = tuple(getattr(compiled, "positiontup", None) or ())
        binds = getattr(compiled, "binds", {})
        self._given = {name: bind.value for name, bind in binds.items() if not bind.required}
        # Several names give a tuple in one step of C; with one it gives no tuple.
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else None
        self.returns = not (core.is_dml and not getattr(core, "_returning", ()))

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The parameters in the driver's order."""
        if self._given:
            values = {**self._given, **values}
        if self._pick is not None:
            return cast("tuple[Any, ...]", self._pick(values))
        return tuple([values[name] for name in self.names])


class Statements:
    """The statements for the tables of one namespace.

    Args:
        tables: the tables.
        dialect: of the driver.
    """

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self.tables = tables
        self.dialect = dialect
        self._kept: dict[tuple[Any, ...], Statement] = {}
        runs = tables.runs.c
        self._record = [runs[name] for name in RECORD]
        # SQLite renews every index of a column that is set, even to the same value; MariaDB reads
        # each value out of the statement's text.
        self.settled = SETTLED if dialect.name in {"sqlite", "mysql"} else ()

    def keep(self, build: Callable[..., ClauseElement], *shape: Any) -> Statement:
        """The statement that `build` makes for `shape`, compiled the first time."""
        key = (build.__name__, *shape)
        if (found := self._kept.get(key)) is None:
            found = self._kept[key] = Statement(build(*shape), self.dialect)
        return found

    def is_settled(self, there: tuple[Any, ...], values: Mapping[str, Any]) -> bool:
        """Whether the columns `settled` are to stay as they are, so that `advance_run` will do."""
        return bool(there) and there == pick_settled(values)

    # ---- reading -------------------------------------------------------------------

    @cached_property
    def get(self) -> Statement:
        """``run_id``: the run's record."""
        runs = self.tables.runs.c
        return self._make(select(*self._record).where(runs.run_id == _word("run_id"), runs.head > 0))

    @cached_property
    def read(self) -> Statement:
        """``run_id, after, limit``: events above ``after``, in order."""
        events = self.tables.events.c

        return self._make(
            select(events.sequence, events.event_id, events.body)
            .where(events.run_id == _word("run_id"), events.sequence > _number("after"))
            .order_by(events.sequence)
            .limit(_number("limit"))
        )

    @cached_property
    def fact(self) -> Statement:
        """``name``: what was fixed under that name."""
        facts = self.tables.facts.c
        return self._make(select(facts.value).where(facts.name == _word("name")))

    # ---- writing -------------------------------------------------------------------

    def lock_runs(self, count: int) -> Statement:
        """``id0, id1, …``: what decides about an append, with the rows locked in one order."""

        def build_lock_runs(count: int) -> ClauseElement:
            runs = self.tables.runs.c
            ids = [_word(f"id{n}") for n in range(count)]
            wanted = runs.run_id == ids[0] if count == 1 else runs.run_id.in_(ids)
            return (
                select(*[runs[name] for name in (*LOCKED, *self.settled)])
                .where(wanted)
                .order_by(runs.run_id)
                .with_for_update()
            )

        return self.keep(build_lock_runs, count)

    @cached_property
    def insert_run(self) -> Statement:
        """``new_*`` of every column that an append writes."""
        runs = self.tables.runs
        return self._make(insert(runs).values({name: _new(runs.c[name]) for name in WRITTEN}))

    @cached_property
    def update_run(self) -> Statement:
        """``run_id`` and ``new_*`` of every column that an append writes."""
        runs = self.tables.runs
        values = {name: _new(runs.c[name]) for name in WRITTEN if name != "run_id"}
        return self._make(update(runs).where(runs.c.run_id == _word("new_run_id")).values(values))

    @cached_property
    def advance_run(self) -> Statement:
        """As `update_run`, where the lease and what is `SETTLED` stay as they are."""
        runs = self.tables.runs
        values = {name: _new(runs.c[name]) for name in ("head", "updated_at", "rest")}
        return self._make(update(runs).where(runs.c.run_id == _word("new_run_id")).values(values))

    @cached_property
    def insert_event(self) -> Statement:
        """``new_*`` of every column of an event."""
        events = self.tables.events
        return self._make(insert(events).values({c.name: _new(c) for c in events.c}))

    @cached_property
    def set_fact(self) -> Statement:
        """``name, new_value``: replace what is there."""
        facts = self.tables.facts
        wanted = facts.c.name == _word("of_name")
        return self._make(update(facts).where(wanted).values(value=_new(facts.c.value)))

    @cached_property
    def lock_fact(self) -> Statement:
        """``name``: what is there, locked."""
        facts = self.tables.facts.c
        return self._make(select(facts.value).where(facts.name == _word("name")).with_for_update())

    @cached_property
    def bury_run(self) -> Statement:
        """``of_run, buried``: leave of a run what keeps its id from being used again unnoticed."""
        runs = self.tables.runs
        gone = {"head": 0, "status": "", "workflow": "", "queue": "", "rest": b"", "priority": 0}
        empty = dict.fromkeys(("created_at", "wake_at", "parent", "attributes", *LEASE))
        return self._make(
            update(runs)
            .where(runs.c.run_id == _word("of_run"))
            .values(**gone, **empty, buried=bindparam("buried", type_=runs.c.buried.type))
        )

    @cached_property
    def delete_events(self) -> Statement:
        """``run_id``: remove the run's log."""
        events = self.tables.events
        return self._make(delete(events).where(events.c.run_id == _word("run_id")))

    # ---- claims --------------------------------------------------------------------

    def levels(self, queues: int | None) -> Statement:
        """``queue0, queue1, …``: queues and priorities that have runs with a due time, best priority first.

        A step of the recursion is one seek in the index, however many runs a level has.
        """

        def build_levels(queues: int | None) -> ClauseElement:
            return self._levels(queues).order_by(column("priority"))

        return self.keep(build_levels, queues)

    def _levels(self, queues: int | None) -> Select[Any]:
        runs = self.tables.runs.alias("r").c
        if queues is None:
            start = select(func.min(runs.queue).label("queue")).where(runs.due_at.is_not(None))
            names = start.cte("names", recursive=True)
            later = select(func.min(runs.queue)).where(runs.due_at.is_not(None), runs.queue > names.c.queue)
            names = names.union_all(select(later.scalar_subquery()).where(names.c.queue.is_not(None)))
        else:
            given = [select(_word(f"queue{n}").label("queue")) for n in range(queues)]
            names = union_all(*given).cte("names") if queues > 1 else given[0].cte("names")
        lowest = select(func.min(runs.priority)).where(runs.due_at.is_not(None))
        first = lowest.where(runs.queue == names.c.queue)
        level = (
            select(names.c.queue, first.scalar_subquery().label("priority"))
            .where(names.c.queue.is_not(None))
            .cte("level", recursive=True)
        )
        following = lowest.where(runs.queue == level.c.queue, runs.priority > level.c.priority)
        level = level.union_all(
            select(level.c.queue, following.scalar_subquery()).where(level.c.priority.is_not(None))
        )
        return select(level.c.queue, level.c.priority).where(level.c.priority.is_not(None))

    @cached_property
    def due_runs(self) -> Statement:
        """``queue, priority, now, limit``: due runs of a level, in order, but those locked by others."""
        runs = self.tables.runs.c
        return self._make(
            select(*self._record)
            .where(
                runs.queue == _word("queue"),
                runs.priority == _number("priority"),
                runs.due_at <= _number("now"),
            )
            .order_by(runs.due_at, runs.run_id)
            .limit(_number("limit"))
            .with_for_update(skip_locked=True)
        )

    @cached_property
    def due_run(self) -> Statement:
        """``run_id, now``: this run, if it is due and nobody has it locked."""
        runs = self.tables.runs.c
        return self._make(
            select(*self._record)
            .where(runs.run_id == _word("run_id"), runs.due_at <= _number("now"))
            .with_for_update(skip_locked=True)
        )

    @cached_property
    def lease_run(self) -> Statement:
        """``of_run`` and ``new_token, new_owner, new_lease_until``."""
        runs = self.tables.runs
        values = {name: _new(runs.c[name]) for name in LEASE}
        return self._make(update(runs).where(runs.c.run_id == _word("of_run")).values(values))

    @cached_property
    def move_lease(self) -> Statement:
        """``of_run, of_token`` and ``new_token, new_lease_until``: if the lease has that token."""
        runs = self.tables.runs
        return self._make(
            update(runs)
            .where(runs.c.run_id == _word("of_run"), runs.c.token == _word("of_token"))
            .values({name: _new(runs.c[name]) for name in ("token", "lease_until")})
        )

    # ---- listing -------------------------------------------------------------------

    def find(self, filters: Sequence[str], statuses: int, behind: bool) -> Statement:
        """The names of `filters`, ``status0, …``, ``created, run_id``, ``limit``: newest first, then id."""

        def build_find(filters: Sequence[str], statuses: int, behind: bool) -> ClauseElement:
            runs = self.tables.runs.c
            tests: list[ColumnElement[bool]] = [runs.created_at.is_not(None)]
            tests += [
                runs[name] == _word(name) for name in ("workflow", "queue", "parent") if name in filters
            ]
            if statuses == 1:
                tests.append(runs.status == _word("status0"))
            elif statuses > 1:
                tests.append(runs.status.in_([_word(f"status{n}") for n in range(statuses)]))
            if "created_from" in filters:
                tests.append(runs.created_at >= _number("created_from"))
            if "created_before" in filters:
                tests.append(runs.created_at < _number("created_before"))
            if behind:
                created = _number("created")
                # The first part is what an index can seek.
                tests.append(
                    and_(
                        runs.created_at <= created,
                        or_(runs.created_at < created, runs.run_id > _word("run_id")),
                    )
                )
            query = select(*self._record).where(*tests).order_by(runs.created_at.desc(), runs.run_id)
            return query.limit(_number("limit"))

        return self.keep(build_find, tuple(filters), statuses, behind)

    # ---- feed ----------------------------------------------------------------------

    @cached_property
    def feed(self) -> Statement:
        """``after, limit``: events in the order in which they got their positions."""
        events = self.tables.events.c
        return self._make(
            select(events.position, events.run_id, events.sequence, events.event_id, events.body)
            .where(events.position > _number("after"))
            .order_by(events.position)
            .limit(_number("limit"))
        )

    def _make(self, core: ClauseElement) -> Statement:
        return Statement(core, self.dialect)


def _word(name: str) -> Any:
    return bindparam(name, type_=Words())


def _number(name: str) -> Any:
    return bindparam(name, type_=BigInteger())


def _new(column: Any) -> Any:
    return bindparam(f"new_{column.name}", type_=column.type)
