"""The step context: who sees which values, what is recorded, and what is refused."""

from __future__ import annotations

import asyncio
import pathlib
import sys
from dataclasses import FrozenInstanceError, dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from pyworkflow import (
    ConfigurationError,
    InMemoryStorageBackend,
    NonDeterminismError,
    StepContext,
    StepContextError,
    StepOutsideWorkflowError,
    UnserializableValueError,
    continue_as_new,
    get_step_context,
    get_workflow_chain,
    get_workflow_run,
    has_step_context,
    hook,
    list_workflow_runs,
    resume,
    resume_hook,
    set_step_context,
    start,
    step,
    workflow,
)
from pyworkflow.context import _classes
from pyworkflow.definitions import _workflows
from pyworkflow.engine.clock import VirtualClock
from pyworkflow_core.errors import LimitExceeded
from pyworkflow_core.storage import Limits

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from families import outcomes, work_off
from simulated_runs import log_of, make_engine
from storage_wrappers import Wrapper

sys.path.pop(0)


@dataclass(frozen=True)
class Address:
    street: str


class Shipment(StepContext):
    order: str
    weight: float = 1
    to: Address | None = None
    when: datetime | None = None
    notes: tuple[str, ...] = ()


@step(name="context.weight")
async def weight() -> float:
    await asyncio.sleep(0)
    return get_step_context(Shipment).weight


@step(name="context.weight_in_a_thread")
def weight_in_a_thread() -> float:
    return get_step_context(Shipment).weight


@step(name="context.whole")
async def whole() -> dict[str, Any | Address] | None:
    return get_step_context().to_dict() if has_step_context() else None


def test_a_context_is_typed_and_cannot_be_changed() -> None:
    one = Shipment(order="o1", to=Address("here"))
    other = one.with_updates(weight=2, notes=("fragile",))
    assert (one.weight, other.weight, other.to) == (1, 2, Address("here"))
    assert other.to_dict() == {
        "order": "o1",
        "weight": 2,
        "to": Address("here"),
        "when": None,
        "notes": ("fragile",),
    }
    assert other == Shipment(order="o1", to=Address("here"), weight=2, notes=("fragile",))
    with pytest.raises(FrozenInstanceError):
        one.weight = 3  # type: ignore[misc]
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'order'"):
        Shipment()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Shipment\.weight: Expected `float`, got `str`"):
        Shipment(order="o1", weight="heavy")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Shipment\.order: Expected `str`, got `int`"):
        one.with_updates(order=1)
    with pytest.raises(TypeError, match="Shipment has no field 'wait'; it has order, weight"):
        one.with_updates(wait=1)


def test_steps_see_what_was_set_when_they_were_called() -> None:
    @workflow
    async def program() -> Any:
        assert not has_step_context()
        nothing = await whole()
        set_step_context(Shipment(order="o1", weight=1))
        early = asyncio.ensure_future(weight())
        await set_step_context(get_step_context(Shipment).with_updates(weight=2))
        return nothing, await weight(), await weight_in_a_thread(), await early, get_step_context().weight

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(program, storage=storage)
        assert await resume(run_id, storage=storage) == (None, 2, 2, 1, 2)
        types = [str(e.data.TYPE) for e in await log_of(storage, run_id)]
        assert types.count("step_context_set") == 2
        assert len(await outcomes(storage)) == 1

    asyncio.run(main())


def test_a_step_that_is_tried_again_by_another_process_sees_the_same_context() -> None:
    seen: list[float] = []

    @step(max_retries=3, retry_delay=60)
    async def failing() -> float:
        seen.append(get_step_context(Shipment).weight)
        if len(seen) < 3:
            raise OSError("away")
        return seen[-1]

    @workflow
    async def program() -> Any:
        set_step_context(Shipment(order="o", weight=1))
        tried = asyncio.ensure_future(failing())
        set_step_context(Shipment(order="o", weight=2))
        return await tried

    async def main() -> None:
        storage, clock = InMemoryStorageBackend(), VirtualClock(auto=True)
        engine = make_engine(storage, clock)
        run_id = await start(program, storage=storage, queue="q")
        await work_off(engine, clock)
        assert await resume(run_id, storage=storage) == 1
        assert seen == [1, 1, 1]

    asyncio.run(main())


def test_values_are_seen_from_outside_and_go_with_a_run_that_continues() -> None:
    address = Address("there")

    @workflow(context_class=Shipment)
    async def program(again: bool = True) -> dict[str, Address | Any] | None:
        if again:
            set_step_context(Shipment(order="o1", to=address, when=datetime(2026, 1, 1, tzinfo=UTC)))
            await hook("go")
            continue_as_new(False)
        before = await whole()
        set_step_context(get_step_context(Shipment).with_updates(order="o2"))
        return before

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(program, storage=storage)
        run = await get_workflow_run(run_id, storage=storage)
        assert run is not None
        assert run.context["to"] == address
        await resume_hook(f"{run_id}:go", storage=storage)
        result = await resume(run_id, storage=storage)
        assert (result["order"], result["to"], result["when"].year) == ("o1", address, 2026)
        chain = await get_workflow_chain(run_id, storage=storage)
        assert [run.context["order"] for run in chain] == ["o1", "o2"]
        assert {run.context["order"] for run in await list_workflow_runs(storage=storage)} == {"o1", "o2"}
        first = await get_workflow_run(await start(empty, storage=storage), storage=storage)
        assert first is not None
        assert first.context == {}

    @workflow
    async def empty() -> None: ...

    asyncio.run(main())


@pytest.mark.parametrize("named", [True, False])
def test_a_context_whose_class_was_renamed_is_read_as_the_class_that_the_workflow_names(named: bool) -> None:
    class Old(StepContext):
        kept: int
        gone: int = 1

    class New(StepContext):
        kept: int
        more: int = 7

    async def body(again: bool = True) -> Any:
        if again:
            set_step_context(Old(kept=5))
            continue_as_new(False)
        await hook("go")
        return get_step_context().to_dict()

    def define(**options: Any) -> Any:
        _workflows.pop("context.renamed", None)
        return workflow(name="context.renamed", **options)(body)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        first = await start(define(), storage=storage)
        _, last = await get_workflow_chain(first, storage=storage)
        del _classes[next(name for name, cls in _classes.items() if cls is Old)]
        define(context_class=New if named else None)
        await resume_hook(f"{last.run_id}:go", storage=storage)
        if named:
            assert await resume(first, storage=storage) == {"kept": 5, "more": 7}
        else:
            with pytest.raises(StepContextError, match="does not know: import it, or name"):
                await resume(first, storage=storage)
        run = await get_workflow_run(last.run_id, storage=storage)
        assert run is not None
        assert run.context == {"kept": 5, "gone": 1}

    asyncio.run(main())


def test_what_is_set_again_is_recorded_once_and_a_changed_value_is_noticed_in_a_replay() -> None:
    def define(count: int) -> Any:
        async def body() -> None:
            for _ in range(3):
                set_step_context(Shipment(order="o", weight=count))
            await hook("go")

        _workflows.pop("context.changed", None)
        return workflow(name="context.changed")(body)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define(1), storage=storage)
        await resume_hook(f"{run_id}:go", storage=storage)
        define(2)
        with pytest.raises(NonDeterminismError) as raised:
            await resume(run_id, storage=storage)
        assert (raised.value.kind, raised.value.sequence) == ("arguments", 2)
        define(1)
        await resume(run_id, storage=storage)
        types = [str(e.data.TYPE) for e in await log_of(storage, run_id)]
        assert types.count("step_context_set") == 1

    asyncio.run(main())


def test_an_order_of_steps_and_contexts_that_changed_is_noticed_in_a_replay() -> None:
    def define(*, first: bool) -> Any:
        async def body() -> None:
            if first:
                set_step_context(Shipment(order="o"))
            await whole()
            if not first:
                set_step_context(Shipment(order="o"))
            await hook("go")

        _workflows.pop("context.moved", None)
        return workflow(name="context.moved")(body)

    async def main() -> None:
        storage = InMemoryStorageBackend()
        run_id = await start(define(first=True), storage=storage)
        await resume_hook(f"{run_id}:go", storage=storage)
        define(first=False)
        with pytest.raises(NonDeterminismError, match="step_context_set"):
            await resume(run_id, storage=storage)

    asyncio.run(main())


async def _in_a_run(call: Any, storage: Any = None, **options: Any) -> Any:
    async def body() -> Any:
        return call()

    _workflows.pop("context.mistake", None)
    run_id = await start(
        workflow(name="context.mistake", **options)(body), storage=storage or InMemoryStorageBackend()
    )
    assert run_id


def test_first_mistakes_with_a_context_are_told() -> None:
    class Loose(StepContext):
        thing: Any = None

    @step(max_retries=0)
    async def setting() -> None:
        set_step_context(Shipment(order="o"))

    @workflow
    async def set_in_a_step() -> None:
        await setting()

    async def main() -> None:
        assert not has_step_context()
        with pytest.raises(StepOutsideWorkflowError, match="outside a workflow and its steps"):
            get_step_context()
        with pytest.raises(StepOutsideWorkflowError, match="belongs into a function decorated"):
            set_step_context(Shipment(order="o"))
        with pytest.raises(StepOutsideWorkflowError, match="in a step, which can only read the context"):
            await start(set_in_a_step, storage=InMemoryStorageBackend())
        with pytest.raises(StepContextError, match=r"has no step context: call set_step_context\(…\)"):
            await _in_a_run(get_step_context)
        with pytest.raises(TypeError, match="the context is an object of StepContext, not dict"):
            await _in_a_run(lambda: set_step_context({"a": 1}))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"'context\.mistake' is an object of Shipment, not Loose"):
            await _in_a_run(lambda: set_step_context(Loose()), context_class=Shipment)
        with pytest.raises(UnserializableValueError, match=r"context\['thing'\]"):
            await _in_a_run(lambda: set_step_context(Loose(thing=object())))
        small = Wrapper(InMemoryStorageBackend(), limits=Limits(event_bytes=10_000))
        with pytest.raises(LimitExceeded, match="the step context takes"):
            await _in_a_run(lambda: set_step_context(Loose(thing="x" * 10_000)), small)
        with pytest.raises(StepContextError, match="is of Loose, not of Shipment"):
            await _in_a_run(lambda: (set_step_context(Loose()), get_step_context(Shipment)))
        with pytest.raises(ConfigurationError, match="context_class is a class derived from StepContext"):
            await _in_a_run(get_step_context, context_class=dict)

    asyncio.run(main())
