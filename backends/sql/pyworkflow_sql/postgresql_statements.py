"""What PostgreSQL is asked in one statement: a commit, a claim, a page of the feed.

A commit locks the rows of its runs in the order of their ids, before it inserts anything, so
that two commits never wait for each other in a circle. It decides on the rows as they are
once locked: what the statement's snapshot shows of them is old where somebody was faster. A
new run is inserted only where no row was locked, and loses silently to one that was inserted
meanwhile; losers are looked at again by `losers`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnClause,
    ColumnElement,
    Dialect,
    LargeBinary,
    TableValuedAlias,
    Text,
    and_,
    any_,
    bindparam,
    case,
    cast,
    column,
    exists,
    func,
    lateral,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert

from .schema import Tables, Words
from .statements import LEASE, RECORD, WRITTEN, Statement, Statements

_NUMBERS = {"head", "priority", "created_at", "updated_at", "wake_at", "lease_until"}
_BLOBS = {"attributes", "rest"}
Types = dict[str, Any]
"""SQL types by name."""


class PostgresqlStatements(Statements):
    """The statements for one namespace of PostgreSQL.

    Args:
        tables: the tables.
        dialect: of the driver.
        base: what is added to transaction ids to make feed positions; None without a feed.
    """

    def __init__(self, tables: Tables, dialect: Dialect, base: int | None) -> None:
        super().__init__(tables, dialect)
        self._base = base

    # ---- commit ----------------------------------------------------------------------

    @cached_property
    def commit(self) -> Statement:
        """Arrays of columns, by `commit_values`: ids and due times of the runs that were written."""
        runs = self.tables.runs
        a = self._appends()
        locked = (
            select(runs.c.run_id, runs.c.head, runs.c.incarnation, runs.c.buried)
            .where(runs.c.run_id == any_(bindparam("new_run_id", type_=ARRAY(Text()))))
            .order_by(runs.c.run_id)
            .with_for_update()
            .cte("locked")
        )
        written = union_all(select(self._update(a, locked)), select(self._insert(a, locked))).cte("written")
        return self._make(select(written.c.run_id, written.c.due_at).add_cte(self._insert_events(written)))

    def _appends(self) -> CTE:
        types: Types = {"expected": BigInteger(), "grave": LargeBinary(), "guard": Text()}
        types |= {name: _type(name) for name in WRITTEN}
        # No parameter may be called as a column is: SQLAlchemy would take it for a value to set.
        return select(_unnest("given", types, prefix="new_")).cte("a")

    def _update(self, a: CTE, locked: CTE) -> CTE:
        runs = self.tables.runs
        # The column may hold earlier incarnations of the id, each between two NUL bytes.
        unburied = or_(locked.c.buried.is_(None), _position(locked.c.buried, a.c.grave) == 0)
        same_run = case((locked.c.head > 0, locked.c.incarnation == a.c.incarnation), else_=unburied)
        leased = and_(a.c.guard.is_not(None), or_(runs.c.token.is_(None), runs.c.token == a.c.guard))
        values: dict[str, Any] = {name: a.c[name] for name in RECORD if name != "run_id"}
        values |= {name: case((leased, a.c[name]), else_=runs.c[name]) for name in LEASE}
        if self._base is not None:
            values["position"] = func.greatest(self._own_position(), runs.c.position)
        return (
            update(runs)
            .where(
                runs.c.run_id == locked.c.run_id,
                locked.c.run_id == a.c.run_id,
                locked.c.head == a.c.expected,
                same_run,
            )
            .values(values)
            .returning(runs.c.run_id, runs.c.due_at, runs.c.position)
            .cte("updated")
        )

    def _insert(self, a: CTE, locked: CTE) -> CTE:
        runs = self.tables.runs
        columns: dict[str, ColumnElement[Any]] = {name: a.c[name] for name in WRITTEN}
        if self._base is not None:
            columns["position"] = self._own_position()
        new = (
            select(*columns.values())
            .where(a.c.expected == 0, ~exists().where(locked.c.run_id == a.c.run_id))
            .order_by(a.c.run_id.collate("C"))
        )
        return (
            insert(runs)
            .from_select(list(columns), new)
            .on_conflict_do_nothing(index_elements=[runs.c.run_id])
            .returning(runs.c.run_id, runs.c.due_at, runs.c.position)
            .cte("inserted")
        )

    def _insert_events(self, written: CTE) -> CTE:
        events = self.tables.events
        types: Types = {"run_id": Text(), "sequence": BigInteger(), "event_id": Text(), "body": LargeBinary()}
        given = _unnest("e", types, prefix="event_")
        taken = select(given, written.c.position).join(written, written.c.run_id == given.c.run_id)
        return insert(events).from_select([*types, "position"], taken).cte("logged")

    @cached_property
    def losers(self) -> Statement:
        """``run_id, expected, last``, arrays: head and incarnation of each run, and its events there."""
        runs, events = self.tables.runs.c, self.tables.events.c
        a = _unnest("a", {"run_id": Text(), "expected": BigInteger(), "last": BigInteger()})
        there = and_(
            events.run_id == runs.run_id, events.sequence > a.c.expected, events.sequence <= a.c.last
        )
        return self._make(
            select(a.c.run_id, runs.head, runs.incarnation, events.sequence, events.event_id, events.body)
            .select_from(a)
            .join(self.tables.runs, runs.run_id == a.c.run_id)
            .outerjoin(self.tables.events, there)
            .order_by(a.c.run_id, events.sequence)
        )

    # ---- claims ----------------------------------------------------------------------

    def claim(self, queues: int | None) -> Statement:
        """``queue0, …``, ``now, limit, owner, until``: due runs, now leased, and when they were due.

        Levels are taken one after the other until there are enough runs, and only those are locked.
        """

        def build_claim(queues: int | None) -> Any:
            runs = self.tables.runs
            levels = self._levels(queues).order_by(column("priority"), func.random()).subquery("levels")
            of_level = lateral(
                select(runs.c.run_id, runs.c.due_at)
                .where(
                    runs.c.queue == levels.c.queue,
                    runs.c.priority == levels.c.priority,
                    runs.c.due_at <= bindparam("now", type_=BigInteger()),
                )
                .order_by(runs.c.due_at, runs.c.run_id)
                .limit(bindparam("limit", type_=BigInteger()))
                .with_for_update(skip_locked=True),
                name="of_level",
            )
            due = (
                select(of_level.c.run_id, of_level.c.due_at)
                .select_from(levels)
                .join(of_level, true())
                .limit(bindparam("limit", type_=BigInteger()))
                .cte("due")
            )
            return (
                update(runs)
                .where(runs.c.run_id == due.c.run_id)
                .values(self._new_lease())
                .returning(*[runs.c[name] for name in RECORD], runs.c.token, due.c.due_at.label("was_due"))
            )

        return self.keep(build_claim, queues)

    @cached_property
    def claim_run(self) -> Statement:
        """``run_id, now, owner, until``: the run, now leased, if it was due."""
        runs = self.tables.runs
        return self._make(
            update(runs)
            .where(
                runs.c.run_id == bindparam("run_id", type_=Words()),
                runs.c.due_at <= bindparam("now", type_=BigInteger()),
                or_(
                    bindparam("queues", type_=ARRAY(Text())).is_(None),
                    runs.c.queue == any_(bindparam("queues", type_=ARRAY(Text()))),
                ),
            )
            .values(self._new_lease())
            .returning(*[runs.c[name] for name in RECORD], runs.c.token, null().label("was_due"))
        )

    @cached_property
    def move_lease(self) -> Statement:
        """As `Statements.move_lease`; answers when the run is due from now on."""
        return self._make(super().move_lease.core.returning(self.tables.runs.c.due_at))

    @cached_property
    def notify(self) -> Statement:
        """``channel``: wake those who listen on it."""
        return self._make(select(func.pg_notify(bindparam("channel", type_=Text()), "")))

    def _new_lease(self) -> dict[str, Any]:
        return {
            "token": cast(func.gen_random_uuid(), Text()),
            "owner": bindparam("new_owner", type_=Words()),
            "lease_until": bindparam("until", type_=BigInteger()),
        }

    # ---- feed ------------------------------------------------------------------------

    def _own_position(self) -> ColumnElement[int]:
        return transaction_number(func.pg_current_xact_id()) + self._shift()

    def _shift(self) -> ColumnElement[int]:
        return literal_column(str(self._base or 0), BigInteger())

    @cached_property
    def feed(self) -> Statement:
        """``position, run_id, sequence, limit``: events behind there that nobody can get in front of.

        A writer's position is at least its transaction's id, and transactions below the fence
        are over. Where a run was written by a younger transaction before an older one, the
        older one's events get the younger one's position, so that a run's order is kept.
        """
        events = self.tables.events.c
        fence = transaction_number(func.pg_snapshot_xmin(func.pg_current_snapshot())) + self._shift()
        place = tuple_(events.position, events.run_id, events.sequence)
        after = tuple_(
            bindparam("position", type_=BigInteger()),
            bindparam("run_id", type_=Words()),
            bindparam("sequence", type_=BigInteger()),
        )
        return self._make(
            select(events.position, events.run_id, events.sequence, events.event_id, events.body)
            .where(events.position.is_not(None), place > after, events.position < fence)
            .order_by(events.position, events.run_id, events.sequence)
            .limit(bindparam("limit", type_=BigInteger()))
        )


def _unnest(name: str, types: Types, prefix: str = "") -> TableValuedAlias:
    """A table whose columns are parameters: an array each, of these types."""
    arrays = [bindparam(prefix + column_name, type_=ARRAY(kind)) for column_name, kind in types.items()]
    columns: list[ColumnClause[Any]] = [column(column_name, kind) for column_name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name=name).render_derived()


def _type(name: str) -> Any:
    return BigInteger() if name in _NUMBERS else LargeBinary() if name in _BLOBS else Text()


def transaction_number(transaction_id: Any) -> ColumnElement[int]:
    """A transaction's id, which has 64 bits and a type of its own, as a number."""
    return cast(cast(transaction_id, Text()), BigInteger())


def _position(whole: Any, part: Any) -> ColumnElement[int]:
    return func.pg_catalog.position(whole, part, type_=BigInteger())
