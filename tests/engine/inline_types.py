"""Workflows whose hooks have their types inline; processes import this module, or do not."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pydantic

from pyworkflow import hook, step, step_hook, workflow


@dataclasses.dataclass
class Plain:
    """A dataclass."""

    amount: int


class Packed(msgspec.Struct):
    """A Struct of msgspec."""

    amount: int


class Model(pydantic.BaseModel):
    """A model of pydantic."""

    amount: int


TYPES: dict[str, Any] = {"dataclass": Plain, "msgspec": Packed, "pydantic": Model}


@workflow(name="inline.asking")
async def asking(kind: str) -> Any:
    answer = await hook("amount", payload_schema=TYPES[kind], token=kind)
    return [type(answer).__name__, answer.amount]


@step(name="inline.step", max_retries=0)
async def in_a_step(kind: str) -> Any:
    answer = await step_hook("amount", payload_schema=TYPES[kind])
    return [type(answer).__name__, answer.amount]


@workflow(name="inline.asking_in_a_step")
async def asking_in_a_step(kind: str) -> Any:
    return await in_a_step(kind)
