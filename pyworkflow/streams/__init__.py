"""Streams: logs of signals, and long-lived steps that subscribe to them."""

from .definitions import StreamDefinition, StreamStepDefinition, stream_step, stream_workflow
from .emitting import emit, terminate
from .looking import StreamRun, StreamStepRun, get_stream_run, list_stream_runs
from .running import StreamWorkflowResult, run_stream_workflow
from .signal import Signal
from .step_context import (
    StreamStepContext,
    get_checkpoint,
    get_current_signal,
    save_checkpoint,
    set_result,
)

__all__ = [
    "Signal",
    "StreamDefinition",
    "StreamRun",
    "StreamStepContext",
    "StreamStepDefinition",
    "StreamStepRun",
    "StreamWorkflowResult",
    "emit",
    "get_checkpoint",
    "get_current_signal",
    "get_stream_run",
    "list_stream_runs",
    "run_stream_workflow",
    "save_checkpoint",
    "set_result",
    "stream_step",
    "stream_workflow",
    "terminate",
]
