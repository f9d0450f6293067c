"""Thinks up the steps of a program: appends that are right, late, early, repeated or forged."""

from __future__ import annotations

from ...storage import Claim
from .model import Run
from .session import FAR, Session
from .steps import Expr, Make, Ref

QUEUES = ("default", "q", "Q")
_HOME = {"b": 1, "A": 2}
"""Runs that are mostly of another queue than the first."""
_DATA = ("{}", "{}", '{"n": 9007199254740993}', '{"z": "\u00e9", "a": "e\u0301"}')
_HOUR = 3_600_000_000


class Author:
    """Makes the appends of one program, on what the session holds by now.

    Args:
        session: the program.

    Attributes:
        now: the present moment; it stands still where the server has a clock of its own.
        made: the appends by now.
        claims: the claims by now: the name of the call and the run.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.now = 0
        self.made: list[Make] = []
        self.claims: list[Ref] = []
        self._names = 0
        self._incarnations: dict[str, int] = {}

    def name(self, letter: str) -> str:
        """A name that the program does not have yet."""
        self._names += 1
        return f"{letter}{self._names}"

    def run(self, run_id: str) -> Run | None:
        """The run, if there is one."""
        return self.session.model.runs.get(run_id)

    def lease(self, units: int) -> int:
        """How long a lease lasts, or a wake time lies ahead."""
        return _HOUR if self.session.server_clock else 10 * units

    def until(self, units: int) -> int:
        """A moment to come."""
        return FAR if self.session.server_clock else self.now + 10 * units

    async def make(self, value: Expr) -> Ref:
        """Make an append, and give it a name."""
        step = Make(self.name("a"), value)
        await self.session.take(step)
        self.made.append(step)
        return Ref(step.name)

    # ---- appends ----------------------------------------------------------------------

    async def create(
        self, run_id: str, *, queue: int = 0, priority: int = 5, wake: str = "now", lease: str = ""
    ) -> Ref:
        """The creation of a run, which conflicts if it exists."""
        number = self._incarnations[run_id] = self._incarnations.get(run_id, 0) + 1
        options: dict[str, object] = {}
        queue = (_HOME.get(run_id, 0) + queue) % len(QUEUES)
        if number > 1:  # so that no event of one incarnation looks like one of another
            options |= {"incarnation": f"i{number}", "event_id": f"i{number}e1"}
        if self.now:
            options["at"] = self.now
        if queue:
            options["queue"] = QUEUES[queue]
        if priority != 5:
            options["priority"] = priority
        if wake == "later":
            options["wake_at"] = self.until(1)
        return await self.make(Expr("created", (run_id,), options | self._lease(run_id, lease)))

    async def good(self, run_id: str, events: int = 1, lease: str = "") -> Ref:
        """The next append of a run, or its creation."""
        if (run := self.run(run_id)) is None:
            return await self.create(run_id, lease=lease)
        options = self._ids(run) | self._lease(run_id, lease)
        data = _DATA[(run.head + len(run_id)) % len(_DATA)]
        if events == 1 and data == "{}":
            return await self.make(Expr("after", (self._last(run),), self._at() | options))
        bodies = (Expr("noted", () if data == "{}" else (data,), self._at()),) * events
        return await self.make(Expr("after", (self._last(run), *bodies), options))

    async def suspend(self, run_id: str, wake: str, lease: str = "") -> Ref:
        """The append by which a run waits until a moment that `wake` names, or its creation."""
        if (run := self.run(run_id)) is None:
            return await self.create(run_id, wake=wake, lease=lease)
        moment = {"never": None, "now": self.now, "long ago": 0, "later": self.until(1)}[wake]
        options = self._at() | self._ids(run) | self._lease(run_id, lease)
        return await self.make(Expr("suspended", (self._last(run), moment), options))

    async def complete(self, run_id: str, lease: str = "") -> Ref:
        """The append by which a run ends, or its creation."""
        if (run := self.run(run_id)) is None:
            return await self.create(run_id, lease=lease)
        options = self._at() | self._ids(run) | self._lease(run_id, lease)
        return await self.make(Expr("completed", (self._last(run),), options))

    async def resume(self, run_id: str, lease: str = "") -> Ref:
        """The append by which a worker takes a run up, or its creation."""
        if (run := self.run(run_id)) is None:
            return await self.create(run_id, lease=lease)
        options = self._ids(run) | self._lease(run_id, lease)
        return await self.make(Expr("resumed", (self._last(run),), {"at": self.now, **options}))

    async def stale(self, run_id: str, back: int, lease: str = "") -> Ref:
        """An append behind an event that is not the last, by a rival; or a second creation."""
        run = self.run(run_id)
        if run is None or len(run.appends) < 2:
            return await self.create(run_id, lease=lease)
        base = run.appends[:-1][-1 - back % (len(run.appends) - 1)]
        options = {"prefix": self.name("r")} | self._lease(run_id, lease)
        return await self.make(Expr("after", (Ref(self.session.name_of(base), None, "record"),), options))

    async def future(self, run_id: str, by: int, lease: str = "") -> Ref:
        """An append behind an event that is not there yet."""
        if (run := self.run(run_id)) is None:
            first = await self.create(run_id)
            return await self.make(
                Expr("after", (Ref(first.name, None, "record"),), {"prefix": self.name("r")})
            )
        options = {"prefix": self.name("r")} | self._lease(run_id, lease)
        return await self.make(Expr("after", (Expr("ahead", (self._last(run), by)),), options))

    async def forged(self, back: int) -> Ref | None:
        """An earlier append with the same event ids and other bodies."""
        if not self.made:
            return None
        value = self.made[-1 - back % len(self.made)].value
        if value.function == "created":
            options = {key: v for key, v in value.options.items() if key != "lease"}
            return await self.make(Expr("created", value.args, {**options, "workflow": "v"}))
        options = {key: v for key, v in value.options.items() if key == "prefix"}
        events = max(1, len(value.args) - 1) if value.function == "after" else 1
        bodies = (Expr("noted", ('{"forged": 1}',)),) * events
        return await self.make(Expr("after", (value.args[0], *bodies), options))

    async def longer(self, back: int) -> Ref | None:
        """An earlier append with one more event."""
        made = [step.value for step in self.made if step.value.function == "after"]
        if not made:
            return None
        value = made[-1 - back % len(made)]
        options = {key: v for key, v in value.options.items() if key == "prefix"}
        bodies = value.args[1:] or (Expr("noted", (), {k: v for k, v in value.options.items() if k == "at"}),)
        return await self.make(Expr("after", (value.args[0], *bodies, Expr("noted")), options))

    def earlier(self, back: int) -> Ref | None:
        """An append that was made before."""
        return Ref(self.made[-1 - back % len(self.made)].name) if self.made else None

    # ---- time and claims --------------------------------------------------------------

    def advance(self, how: str) -> None:
        """Let time pass: a little, or to the next moment at which something becomes due."""
        if self.session.server_clock:
            return
        moments = {run.due for run in self.session.model.runs.values() if run.due is not None}
        moments |= {run.lease.until for run in self.session.model.runs.values() if run.lease is not None}
        ahead = min((moment for moment in moments if moment > self.now), default=self.now + 10)
        offset = {"just before": -1, "at": 0, "just after": 1}.get(how)
        self.now = self.now + 10 if offset is None else max(self.now, ahead + offset)

    def claim_of(self, back: int) -> Ref | None:
        """One of the claims by now, the newest first; the store may have ended it."""
        return self.claims[-1 - back % len(self.claims)] if self.claims else None

    def note_claims(self, name: str) -> None:
        """Remember the claims of a call."""
        claims: dict[str, Claim] = self.session.names[name]
        self.claims += [Ref(name, run_id) for run_id in claims]

    # ---- parts of appends -------------------------------------------------------------

    def _last(self, run: Run) -> Ref:
        return Ref(self.session.name_of(run.appends[-1]), None, "record")

    def _at(self) -> dict[str, object]:
        return {"at": self.now} if self.now else {}

    def _ids(self, run: Run) -> dict[str, object]:
        incarnation = run.record.incarnation
        return {} if incarnation == "i1" else {"prefix": f"{incarnation}e"}

    def _lease(self, run_id: str, change: str) -> dict[str, object]:
        """A lease change: the holder's (``keep``, ``end``), a stranger's (``other``), or none."""
        if not change:
            return {}
        run = self.run(run_id)
        token: object = self.name("t")
        if change != "other" and run is not None and run.lease is not None:
            held = run.lease.token
            token = next(
                (
                    Ref(ref.name, ref.item, "token")
                    for ref in self.claims
                    if self.session.names[ref.name][ref.item].token == held
                ),
                held,
            )
        until = None if change == "end" else self.until(2)
        return {"lease": Expr("LeaseChange", (token, "w", until))}
