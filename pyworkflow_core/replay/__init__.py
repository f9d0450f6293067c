"""Replay: events in, decisions out. No I/O, no clock, no threads.

A `Machine` runs workflow code on a small deterministic event loop. It is fed a run's
history, and after that one event at a time; it answers with the commands that the code
issued. The same code over the same events makes the same commands, live as in replay.
"""

from .calls import Call, SleepCall, StepCall
from .children import Child, ChildCall, ChildEnd, ReleaseCall, wait_for_end
from .hooks import HookCall, public_token
from .in_steps import StepHook, StepNotes, notes_of, step_text
from .inbox import Inbox, known_as
from .loop import WorkflowLoop, current_machine
from .machine import Machine
from .notes import NoteCall, note
from .outcome import Outcome
from .reopening import NoLongerCounts, in_force, incarnation_of
from .schedules import ScheduleNote
from .shield import Shield

__all__ = [
    "Call",
    "Child",
    "ChildCall",
    "ChildEnd",
    "HookCall",
    "Inbox",
    "Machine",
    "NoLongerCounts",
    "NoteCall",
    "Outcome",
    "ReleaseCall",
    "ScheduleNote",
    "Shield",
    "SleepCall",
    "StepCall",
    "StepHook",
    "StepNotes",
    "WorkflowLoop",
    "current_machine",
    "in_force",
    "incarnation_of",
    "known_as",
    "note",
    "notes_of",
    "public_token",
    "step_text",
    "wait_for_end",
]
