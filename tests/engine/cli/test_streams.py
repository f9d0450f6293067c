"""Streams on the command line."""

from __future__ import annotations

from typing import Any

import pytest

APPLICATION = """
from pyworkflow import (
    get_checkpoint, get_current_signal, save_checkpoint, set_result, stream_step, stream_workflow
)


@stream_workflow
async def readings():
    pass


@stream_step(readings, {"degrees": int, "note": str})
async def adds_up():
    signal = await get_current_signal()
    if signal is not None and signal.signal_type == "degrees":
        total = (await get_checkpoint() or 0) + signal.value
        await save_checkpoint(total)
        await set_result(total)
"""


@pytest.fixture
def stream(cli: Any) -> Any:
    """The command line beside a module with the stream `readings`, to which two signals were emitted."""
    (cli.folder / "weather.py").write_text(APPLICATION, encoding="utf-8")
    for degrees in ("20", "22"):
        cli("streams", "emit", "readings", "degrees", degrees, "--module", "weather", "--run", "roof")
    return cli


def test_signals_are_emitted_handled_by_a_worker_and_the_stream_is_ended(stream: Any) -> None:
    stream("worker", "weather", "--once")
    shown = stream.json("streams", "show", "readings", "--run", "roof")
    assert (shown["status"], shown["signals"]) == ("suspended", 2)
    assert [step["name"] for step in shown["steps"]] == ["adds_up"]
    text = stream("streams", "terminate", "readings", "--run", "roof", "--reason", "dark").stdout
    assert "ends when its steps have handled what came before" in text
    stream("worker", "weather", "--once")
    text = stream("streams", "show", "readings", "--run", "roof").stdout
    assert "status   completed (terminated)" in text
    assert "adds_up" in text
    steps = stream.json("runs", "show", shown["run_id"])["result"]["steps"]
    assert steps["adds_up"]["result"] == "42"
    assert "it is completed" in stream.error(
        "streams", "emit", "readings", "degrees", "1", "--run", "roof", code=4
    )


def test_runs_of_streams_are_listed_and_do_not_stand_among_the_runs_of_workflows(stream: Any) -> None:
    stream("streams", "emit", "readings", "note", "hot", "--delay", "1h", "--module", "weather")
    listed = stream.json("streams", "list")
    assert {(run["stream_id"], run["stream_run_id"], run["signals"]) for run in listed} == {
        ("readings", None, 1),
        ("readings", "roof", 2),
    }
    assert "roof" in stream("streams", "list").stdout
    assert stream.json("runs", "list") == []
    assert stream.json("streams", "list", "--limit", "1") == listed[:1]


def test_the_same_id_is_heard_once_and_an_id_is_printed(stream: Any) -> None:
    for _ in range(2):
        told = stream.json("streams", "emit", "readings", "degrees", "1", "--run", "roof", "--id", "one")
        assert told["signal_id"] == "one"
    assert stream.json("streams", "show", "readings", "--run", "roof")["signals"] == 3


def test_mistakes_on_the_command_line_say_what_to_do(cli: Any, stream: Any) -> None:
    assert "there is no stream 'reading'" in cli.error("streams", "emit", "reading", "degrees", "1", code=4)
    assert "there is no stream 'reading'" in cli.error("streams", "show", "reading", code=4)
    wrong = ("streams", "emit", "readings", "degrees", "warm", "--module", "weather")
    assert "does not fit" in cli.error(*wrong, code=2)
    assert "is not a duration" in cli.error(
        "streams", "emit", "readings", "note", "x", "--delay", "y", code=2
    )


def test_a_storage_without_streams_says_so(cli: Any) -> None:
    assert "no streams in file:.pyworkflow" in cli("streams", "list").stdout
