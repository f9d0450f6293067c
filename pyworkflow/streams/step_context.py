"""What a stream step asks and says while it handles a signal."""

from __future__ import annotations

import contextvars
import inspect
import logging
from typing import TYPE_CHECKING, Any

from pyworkflow_core.codec import Codec, default_codec
from pyworkflow_core.storage import StorageBackend

from ..engine.attempt import current_attempt
from ..errors import StepOutsideWorkflowError
from .signal import Signal, plain

if TYPE_CHECKING:
    from .definitions import StreamStepDefinition

log = logging.getLogger("pyworkflow")


class Handling:
    """One signal in the hands of a stream step.

    Attributes:
        step: the step.
        signal: the signal; None as the stream begins.
        checkpoint: what was saved last.
        stream_run_id: which run of the stream it is.
        turn: what the step said, recorded as its result once it returned.
    """

    def __init__(
        self, step: StreamStepDefinition, signal: Signal | None, checkpoint: Any, stream_run_id: str | None
    ) -> None:
        self.step = step
        self.signal = signal
        self.checkpoint = checkpoint
        self.stream_run_id = stream_run_id
        self.turn: dict[str, Any] = {}


current_handling: contextvars.ContextVar[Handling | None] = contextvars.ContextVar(
    "pyworkflow stream step", default=None
)
current_scope: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "pyworkflow stream run", default=None
)
"""The run of a stream to which code that names none belongs."""
current_storage: contextvars.ContextVar[StorageBackend | None] = contextvars.ContextVar(
    "pyworkflow stream storage", default=None
)
"""Where the streams are of a program that begins one."""


class StreamStepContext:
    """What ``on_signal`` is given beside the signal; without a call of it the signal is passed over.

    Attributes:
        stream_id: the stream's name.
        stream_run_id: which run of the stream it is.
        run_id: the run that consumes the stream for the step.
    """

    def __init__(self, handling: Handling) -> None:
        attempt = current_attempt.get()
        self.stream_id = handling.step.stream
        self.stream_run_id = handling.stream_run_id
        self.run_id = "" if attempt is None else attempt.call.machine.run_id
        self.is_resumed = False
        self._turn = handling.turn

    async def resume(self) -> None:
        """Run the step for the signal."""
        self.is_resumed = True

    async def terminate(self) -> None:
        """End the step."""
        self._turn["end"] = "terminated"

    async def cancel(self, reason: str | None = None) -> None:
        """End the step as cancelled."""
        self._turn["end"] = "cancelled"
        self._turn["reason"] = reason


async def get_current_signal() -> Signal | None:
    """The signal that the stream step runs for; None when it runs as the stream begins.

    Raises:
        StepOutsideWorkflowError: no stream step runs here.
    """
    return _handling("get_current_signal").signal


async def get_checkpoint() -> Any:
    """What the stream step saved last; None if it saved nothing.

    Raises:
        StepOutsideWorkflowError: no stream step runs here.
    """
    return _handling("get_checkpoint").checkpoint


async def save_checkpoint(data: Any) -> None:
    """Save what the stream step is to know when it handles the next signals.

    It is recorded with the fact that this signal was handled: a signal that is tried again finds
    what was there before it.

    Raises:
        UnserializableValueError: the value cannot be recorded.
        StepOutsideWorkflowError: no stream step runs here.
    """
    handling = _handling("save_checkpoint")
    value = plain(data)
    _codec().encode(value, where="checkpoint")
    handling.checkpoint = handling.turn["checkpoint"] = value


async def set_result(value: Any) -> None:
    """Set what `StreamWorkflowResult` shows as the stream step's result; the last one counts.

    Raises:
        UnserializableValueError: the value cannot be recorded.
        StepOutsideWorkflowError: no stream step runs here.
    """
    _handling("set_result").turn["result"] = _codec().encode(plain(value), where="result").decode()


async def handle(
    step: StreamStepDefinition, signal: Signal | None, checkpoint: Any, stream_run_id: str | None
) -> dict[str, Any]:
    """Run a stream step for a signal; what it said."""
    handling = Handling(step, signal, checkpoint, stream_run_id)
    current_handling.set(handling)
    current_scope.set(stream_run_id)
    if signal is not None:
        if signal.signal_type not in step.signals:
            return {"passed_over": True}  # a type that an earlier version of the step took
        try:
            _ = signal.value
        except ValueError as error:
            log.warning("stream step %r passes over signal %s: %s", step.name, signal.signal_id, error)
            return {"refused": str(error)[:500]}
        if step.on_signal is not None and not await _is_wanted(step.on_signal, signal, handling):
            return handling.turn or {"passed_over": True}
    await step.func()
    return handling.turn


async def _is_wanted(on_signal: Any, signal: Signal, handling: Handling) -> bool:
    context = StreamStepContext(handling)
    parameters = inspect.signature(on_signal).parameters.values()
    takes_both = len(parameters) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    answer = on_signal(signal, context) if takes_both else on_signal(signal)
    if inspect.isawaitable(answer):
        answer = await answer
    return context.is_resumed or bool(answer)


def _handling(what: str) -> Handling:
    handling = current_handling.get()
    if handling is None:
        raise StepOutsideWorkflowError(
            f"{what}() was called outside a stream step: it belongs into a function decorated with "
            "@stream_step, while a signal runs that"
        )
    return handling


def _codec() -> Codec:
    attempt = current_attempt.get()
    return default_codec if attempt is None else attempt.engine.codec
