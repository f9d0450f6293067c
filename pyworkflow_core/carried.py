"""What a run that continues as new hands on to its successor: part of its first event."""

from __future__ import annotations

from msgspec import Raw, Struct

NO_RAW = Raw(b"")
OWN_TOKEN = "="
"""Stands in a log before a hook's token that the code chose itself; others are hexadecimal."""


class CarriedHook(Struct, frozen=True, gc=False, omit_defaults=True):
    """A hook that a run had when it continued as new: its token still works.

    Attributes:
        hook: the hook's name.
        ordinal: the how-manieth hook of that name it is for the run that goes on.
        token: the secret that lets somebody answer.
        answer: the encoded answer, if one was recorded that the code had not taken; otherwise empty.
    """

    hook: str
    ordinal: int
    token: str
    answer: Raw = NO_RAW


class CarriedChild(Struct, frozen=True, gc=False, omit_defaults=True):
    """A child that a run had when it continued as new.

    Attributes:
        child: the child's workflow.
        run_id: the child's first run.
        abandon: whether the parent's end leaves it alone.
        result: the encoded result of one that has completed.
        error: the encoded exception of one that has failed.
        reason: why it was cancelled.
        status: ``open``, ``completed``, ``failed`` or ``cancelled``.
    """

    child: str
    run_id: str
    abandon: bool = False
    result: Raw = NO_RAW
    error: Raw = NO_RAW
    reason: str | None = None
    status: str = "open"


class CarriedSignal(Struct, frozen=True, gc=False, omit_defaults=True):
    """A signal that a run had not taken when it continued as new.

    Attributes:
        signal: what kind of thing it is.
        signal_id: the sender's id for it.
        payload: the encoded value.
        sender: run id of the run that sent it; empty if it came from elsewhere.
    """

    signal: str
    signal_id: str
    payload: Raw = NO_RAW
    sender: str = ""


class CarriedContext(Struct, frozen=True, gc=False, omit_defaults=True):
    """The step context that a run had when it continued as new.

    Attributes:
        context: module and name of its class, for people.
        value: the encoded fields, as a mapping.
    """

    context: str
    value: Raw = NO_RAW


class Carried(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a run takes over from the one that it continues.

    Attributes:
        hooks: hooks that were open, or whose answers the code had not taken.
        children: children that are not done with.
        cancel: a cancellation request that had not been delivered: its reason and its source.
        signals: what the run was told and its code had not taken.
        known: digests of the ids of the last signals, so that none is taken twice.
        context: the step context.
    """

    hooks: tuple[CarriedHook, ...] = ()
    children: tuple[CarriedChild, ...] = ()
    cancel: tuple[str | None, str] | None = None
    signals: tuple[CarriedSignal, ...] = ()
    known: tuple[str, ...] = ()
    context: CarriedContext | None = None
