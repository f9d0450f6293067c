"""The rules of the random programs: what may come next, chosen by Hypothesis.

No rule looks at what the store answered before it makes its choices, so that an example can be
repeated whatever the store does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ...record import RunStatus
from .playing import Play
from .steps import Call, Expr, Ref, Reopen

_runs = st.sampled_from(("a", "a", "a", "b", "b", "A", "a/b", "é", "e\u0301"))
_handles = st.sampled_from(("h1", "h1", "h1", "h2", "h2", "h3"))
_back = st.sampled_from((0, 0, 1, 2, 3, 5, 8))
_few = st.sampled_from((1, 2, 3))
_leases = st.sampled_from(("", "", "", "keep", "end", "other"))
_wakes = st.sampled_from(("never", "now", "long ago", "later"))
_queues = st.sampled_from(((), (), ("default",), ("q",), ("Q",), ("default", "q"), ("q", "nobody")))
_kinds = st.sampled_from(("good", "good", "stale", "future", "resent", "forged", "longer"))
_queries = st.sampled_from(
    (
        {},
        {"status": frozenset({RunStatus.SUSPENDED})},
        {"status": frozenset({RunStatus.PENDING, RunStatus.RUNNING})},
        {"status": frozenset({RunStatus.COMPLETED})},
        {"queue": "q"},
        {"workflow": "w"},
        {"created_from": 10},
        {"created_before": 10},
        {"parent": "a"},
    )
)


_moves: list[st.SearchStrategy[tuple[str, dict[str, Any]]]] = []


def move(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a method one of the moves that a program may choose from, with arguments of its own."""

    def register(method: Callable[..., None]) -> Callable[..., None]:
        _moves.append(st.tuples(st.just(method.__name__), st.fixed_dictionaries(arguments)))
        return method

    return register


class Programs(Play):
    """One random program on a fresh namespace.

    All moves are choices of one rule. Hypothesis leaves most rules out of most programs, which
    finds more in a night and less in the two dozen programs of a quick look.
    """

    # ---- writing --------------------------------------------------------------------

    @move(
        run=_runs,
        handle=_handles,
        queue=st.booleans(),
        priority=st.sampled_from((5, 5, 0, 9)),
        late=st.booleans(),
        lease=_leases,
    )
    def create(self, run: str, handle: str, queue: bool, priority: int, late: bool, lease: str) -> None:
        """Create a run, or try to create it again."""

        async def play() -> None:
            wake = "later" if late else "now"
            made = await self._author.create(run, queue=queue, priority=priority, wake=wake, lease=lease)
            await self._commit(handle, made)

        self._play(play)

    @move(run=_runs, handle=_handles, events=_few, lease=_leases)
    def append(self, run: str, handle: str, events: int, lease: str) -> None:
        """The next append of a run."""

        async def play() -> None:
            await self._commit(handle, await self._author.good(run, events, lease))

        self._play(play)

    @move(run=_runs, handle=_handles, wake=_wakes, lease=_leases)
    def suspend(self, run: str, handle: str, wake: str, lease: str) -> None:
        """A run begins to wait."""

        async def play() -> None:
            await self._commit(handle, await self._author.suspend(run, wake, lease))
            if wake in ("never", "later"):
                await self._claim(handle, 1, (), run, 1)

        self._play(play)

    @move(run=_runs, handle=_handles, lease=_leases)
    def complete(self, run: str, handle: str, lease: str) -> None:
        """A run ends; afterwards something is noted."""

        async def play() -> None:
            await self._commit(handle, await self._author.complete(run, lease))
            await self._commit(handle, await self._author.good(run))
            await self._claim(handle, 1, (), run, 1)

        self._play(play)

    @move(run=_runs, handle=_handles, lease=_leases)
    def resume(self, run: str, handle: str, lease: str) -> None:
        """A run is taken up."""

        async def play() -> None:
            await self._commit(handle, await self._author.resume(run, lease))

        self._play(play)

    @move(kind=_kinds, run=_runs, handle=_handles, back=_back, lease=_leases)
    def append_wrongly(self, kind: str, run: str, handle: str, back: int, lease: str) -> None:
        """An append that is late, early, repeated or forged."""

        async def play() -> None:
            await self._commit(handle, await self._think_up(kind, run, back, lease))

        self._play(play)

    @move(handle=_handles, twice=st.booleans())
    def resend_last(self, handle: str, twice: bool) -> None:
        """The last append once more, as after a lost acknowledgement."""

        async def play() -> None:
            for _ in range(1 + twice):
                await self._commit(handle, self._author.earlier(0))

        self._play(play)

    @move(handle=_handles, parts=st.lists(st.tuples(_kinds, _runs, _back, _few), min_size=2, max_size=4))
    def commit_many(self, handle: str, parts: list[tuple[str, str, int, int]]) -> None:
        """Appends of several runs in one commit: some right, some not."""

        async def play() -> None:
            chosen: dict[str, Ref] = {}
            for kind, run, back, events in parts:
                made = await (
                    self._author.good(run, events) if kind == "good" else self._think_up(kind, run, back, "")
                )
                if made is not None:
                    chosen.setdefault(self._session.names[made.name].run_id, made)
            await self._commit(handle, *chosen.values())

        self._play(play)

    @move(run=_runs, handle=_handles, right=st.sampled_from((True, True, False)))
    def delete(self, run: str, handle: str, right: bool) -> None:
        """Delete a run, or try to with another head than it has."""
        self._play(lambda: self._delete(run, handle, right))

    @move(run=_runs, handle=_handles, other=_handles, resent=st.booleans(), again=st.booleans())
    def delete_and_return(self, run: str, handle: str, other: str, resent: bool, again: bool) -> None:
        """An append that was made for a deleted run arrives late, or the one that made it does again."""

        async def play() -> None:
            there = self._author.run(run)
            if there is None:
                return
            first = Ref(self._session.name_of(there.appends[0]))
            late = first if resent else await self._author.good(run)
            claim = self._author.claim_of(0)
            await self._delete(run, handle, right=True)
            await self._change_lease(other, "release" if resent else "extend", claim, 1)
            if again:
                await self._commit(handle, await self._author.create(run))
            await self._commit(other, late)

        self._play(play)

    # ---- claiming -------------------------------------------------------------------

    @move(
        handle=_handles, limit=_few, queues=_queues, only=st.sampled_from((None, None, "a", "b")), units=_few
    )
    def claim(self, handle: str, limit: int, queues: tuple[str, ...], only: str | None, units: int) -> None:
        """Claim what is due."""
        self._play(lambda: self._claim(handle, limit, queues, only, units))

    @move(handle=_handles, method=st.sampled_from(("extend", "release")), back=_back, units=_few)
    def change_lease(self, handle: str, method: str, back: int, units: int) -> None:
        """Extend or release a claim, which may be over."""
        self._play(lambda: self._change_lease(handle, method, self._author.claim_of(back), units))

    @move(how=st.sampled_from(("a little", "just before", "at", "at", "just after")))
    def pass_time(self, how: str) -> None:
        """Time passes."""
        if not self._over:
            self._author.advance(how)

    @move(
        run=_runs,
        handles=st.tuples(_handles, _handles),
        how=st.sampled_from(("just before", "at", "just after")),
        method=st.sampled_from(("extend", "release")),
        meanwhile=st.sampled_from(("", "stale", "resent", "good")),
    )
    def expire_and_steal(
        self, run: str, handles: tuple[str, str], how: str, method: str, meanwhile: str
    ) -> None:
        """A lease ends, another worker claims the run, and the first one comes back."""

        async def play() -> None:
            if self._author.run(run) is None:
                await self._commit(handles[0], await self._author.create(run))
            await self._claim(handles[0], 1, (), run, 1)
            first = self._author.claim_of(0)
            if meanwhile:
                await self._commit(handles[1], await self._think_up(meanwhile, run, 0, ""))
            self._author.advance(how)
            await self._claim(handles[1], 1, (), run, 2)
            await self._change_lease(handles[0], method, first, 3)
            await self._claim(handles[1], 1, (), run, 1)

        self._play(play)

    @move(
        run=_runs, handles=st.tuples(_handles, _handles), wake=st.sampled_from(("now", "never", "long ago"))
    )
    def append_to_a_leased_run(self, run: str, handles: tuple[str, str], wake: str) -> None:
        """Somebody else's append comes between claim and release."""

        async def play() -> None:
            await self._commit(handles[0], await self._author.suspend(run, "now"))
            await self._claim(handles[0], 1, (), run, 3)
            held = self._author.claim_of(0)
            await self._commit(handles[0], await self._author.suspend(run, "never"))
            await self._commit(handles[1], await self._author.suspend(run, wake))
            await self._claim(handles[1], 3, (), run, 1)
            await self._change_lease(handles[0], "release", held, 1)
            await self._claim(handles[1], 3, (), run, 1)

        self._play(play)

    # ---- reading --------------------------------------------------------------------

    @move(
        run=_runs, handle=_handles, after=st.sampled_from((0, 1, 2, 4)), limit=st.sampled_from((None, 1, 2))
    )
    def read_a_part(self, run: str, handle: str, after: int, limit: int | None) -> None:
        """Read some events of a run: those before, those behind, and a few."""

        async def play() -> None:
            for options in ({"after": after, "limit": limit}, {"after": after}, {"limit": 2}):
                given = {key: value for key, value in options.items() if value}
                await self._session.take(Call(handle, "read", (run,), given))

        self._play(play)

    @move(handle=_handles, query=_queries, limit=st.sampled_from((1, 2, 100)))
    def list_runs(self, handle: str, query: dict[str, Any], limit: int) -> None:
        """List runs, page by page."""
        args = (Expr("RunQuery", (), query),) if query else ()
        self._play(lambda: self._session.take(Call(handle, "listed", args, {"limit": limit})))

    @move(handle=_handles, fresh=st.booleans(), to_the_end=st.booleans(), limit=_few)
    def follow_the_feed(self, handle: str, fresh: bool, to_the_end: bool, limit: int) -> None:
        """Go on in the feed from where a reader was, or begin."""

        async def play() -> None:
            if not self._session.store(handle).capabilities.feed:
                return
            pages = [] if fresh else list(self._session.pages)
            options: dict[str, Any] = {"after": Ref(pages[-1], None, "position")} if pages else {}
            method = "follow" if to_the_end else "feed"
            name = self._author.name("p")
            await self._session.take(Call(handle, method, (), {**options, "limit": limit}, name))

        self._play(play)

    @move(handle=_handles)
    def reopen(self, handle: str) -> None:
        """Close a handle and open it again."""

        async def play() -> None:
            await self._session.take(Reopen(handle))
            await self._look(handle)

        self._play(play)

    @rule(turn=st.one_of(_moves))
    def go_on(self, turn: tuple[str, dict[str, Any]]) -> None:
        """Make one move."""
        getattr(self, turn[0])(**turn[1])
