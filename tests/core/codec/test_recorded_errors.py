"""Exceptions come back as what they were, without running anybody's code."""

import asyncio
import pathlib
import sys

import pytest

from pyworkflow_core.codec import Codec, RecordedError, reach_of_function
from pyworkflow_core.errors import CancellationError, UnserializableValueError

sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import codec_shop as shop
finally:
    sys.path.pop(0)

codec = Codec()
reach = reach_of_function(shop.order)


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def back(error, reach=reach):
    return codec.decode_error(codec.encode_error(error, reach=reach), reach=reach)


def unicode_error():
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error


def syntax_error():
    try:
        compile("a b", "f.py", "exec")
    except SyntaxError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ValueError(),
        KeyError("k"),
        KeyError(("a", 1)),
        Exception("e"),
        TypeError("a", 2),
        FileNotFoundError(2, "No such file", "x.txt"),
        OSError("plain"),
        OSError(5, "io"),
        unicode_error(),
        syntax_error(),
        ImportError("no", name="n", path="p"),
        StopIteration(3),
        asyncio.CancelledError("c"),
        TimeoutError(),
        AttributeError("a", name="n"),
        shop.Refused("no"),
        shop.DiskFull(28, "full", "a", None, "b"),
    ],
    ids=repr,
)
def test_an_exception_comes_back_with_its_class_text_and_arguments(error):
    revived = back(error)
    assert type(revived) is type(error)
    assert str(revived) == str(error)
    assert revived.args == error.args
    assert repr(revived) == repr(error)


def test_an_os_error_keeps_its_parts():
    revived = back(FileNotFoundError(2, "No such file", "x.txt"))
    assert (revived.errno, revived.strerror, revived.filename) == (2, "No such file", "x.txt")


def test_a_cancellation_keeps_its_reason():
    revived = back(CancellationError("tired"))
    assert type(revived) is CancellationError
    assert revived.reason == "tired"


def test_an_exception_with_a_constructor_of_its_own_comes_back_without_it():
    error = raised(shop.OutOfStock("tea", left=2))
    shop.built.clear()
    revived = back(error)
    assert shop.built == []
    assert type(revived) is shop.OutOfStock
    assert str(revived) == "tea is out of stock"
    assert (revived.sku, revived.left) == ("tea", 2)
    assert not hasattr(revived, "conn")


def test_slots_and_a_text_of_its_own_come_back():
    error = shop.Worse("tea", left=1)
    error.grade = 3
    revived = back(error)
    assert (str(revived), revived.grade) == ("worse: tea", 3)


def test_arguments_that_cannot_be_written_leave_the_text():
    for error in (ValueError(shop.Conn()), KeyError(shop.Conn()), ValueError("a", shop.Conn())):
        revived = back(error)
        assert type(revived) is type(error)
        assert str(revived) == str(error)


def test_an_exception_out_of_reach_comes_as_its_nearest_known_base():
    revived = back(shop.Refused("no"), reach_of_function(len))
    assert type(revived) is ValueError
    assert str(revived) == "no"
    assert revived.__notes__ == ["originally codec_shop.Refused"]
    disk = back(shop.DiskFull(28, "full", "a"), reach_of_function(len))
    assert (type(disk), disk.errno, str(disk)) == (OSError, 28, "[Errno 28] full: 'a'")


def test_an_exception_without_a_known_base_comes_as_a_recorded_error():
    revived = back(shop.OutOfStock("tea", left=1), reach_of_function(len))
    assert type(revived) is RecordedError
    assert (revived.type, str(revived)) == ("codec_shop.OutOfStock", "tea is out of stock")
    again = back(revived, reach_of_function(len))
    assert (type(again), again.type, str(again)) == (
        RecordedError,
        "codec_shop.OutOfStock",
        "tea is out of stock",
    )


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("b")])
def test_what_would_end_the_process_is_never_revived(error):
    revived = back(error)
    assert type(revived) is RecordedError
    assert revived.type == f"builtins.{type(error).__name__}"
    assert str(revived) == str(error)


def test_data_that_names_other_things_raises_nothing_but_recorded_errors():
    for name in (
        "os.system",
        "builtins.eval",
        "codec_shop.order",
        "codec_shop.Item",
        "builtins.SystemExit",
        "codec_shop.sys.exit",
        "x",
    ):
        data = f'{{"$":"error","type":"{name}","message":"m","bases":["{name}","builtins.Exception"]}}'
        assert type(codec.decode_error(data.encode(), reach=reach)) is RecordedError


def test_attributes_in_hostile_data_reach_no_descriptor():
    data = (
        b'{"$":"error","type":"builtins.ValueError","message":"m","args":["m"],'
        b'"state":[["__class__",1],["__dict__",1],["args",2],["__notes__",3]]}'
    )
    revived = codec.decode_error(data)
    assert (type(revived), revived.args) == (ValueError, ("m",))


def test_an_exception_of_a_package_that_the_function_imports_is_reachable():
    import json

    def parse(text):
        return json.loads(text)

    error = None
    try:
        parse("{")
    except json.JSONDecodeError as caught:
        error = caught
    revived = back(error, reach_of_function(imports_json))
    assert type(revived) is json.JSONDecodeError
    assert (str(revived), revived.pos) == (str(error), error.pos)
    assert type(back(error, reach_of_function(shop.nothing))) is ValueError


namespace = {"__name__": "importer"}
exec("import json\ndef imports_json(): ...", namespace)
imports_json = namespace["imports_json"]


def test_a_local_exception_works_when_the_function_uses_it_or_when_registered():
    class Local(Exception):
        pass

    def step():
        raise Local

    assert type(back(Local("x"), reach_of_function(step))) is Local
    assert type(back(Local("x"))) is RecordedError
    own = Codec()
    own.register(Local, name="local")
    revived = own.decode_error(own.encode_error(Local("x")))
    assert (type(revived), str(revived)) == (Local, "x")


def test_functions_registered_for_an_exception_are_used():
    own = Codec()
    own.register(shop.OutOfStock, encode=lambda e: e.sku, decode=lambda sku: shop.OutOfStock(sku, left=9))
    assert own.decode_error(own.encode_error(shop.OutOfStock("tea", left=1))).left == 9


def test_notes_cause_and_traceback_come_back():
    error = ValueError("outer")
    error.add_note("look here")
    try:
        raise error from shop.OutOfStock("tea", left=1)
    except ValueError as caught:
        revived = back(caught)
    assert revived.__notes__ == ["look here"]
    assert type(revived.__cause__) is shop.OutOfStock
    assert "test_notes_cause_and_traceback_come_back" in revived.__recorded_traceback__
    assert "direct cause" in revived.__recorded_traceback__
    again = back(raised(revived))
    assert "Raised again from the log" in again.__recorded_traceback__
    assert len(again.__recorded_traceback__) <= 8192


def test_a_context_comes_back():
    try:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer")  # noqa: B904 - the context is the point
    except ValueError as caught:
        revived = back(caught)
    assert type(revived.__context__) is KeyError
    assert revived.__cause__ is None


def test_a_chain_without_end_is_cut():
    one, other = ValueError("1"), ValueError("2")
    one.__cause__, other.__cause__ = other, one
    error, length = back(one), 0
    while error is not None:
        error, length = error.__cause__, length + 1
    assert length == 6


def test_a_long_traceback_keeps_its_end():
    def dive(n):
        exec(f"def f(n):\n    {'pass;' * n}\n    dive(n - 1) if n else 1 / 0\nf(n)", {"dive": dive, "n": n})

    try:
        dive(100)
    except ZeroDivisionError as error:
        text = back(error).__recorded_traceback__
    assert len(text) == 8192
    assert text.endswith("ZeroDivisionError: division by zero\n")


def test_a_group_keeps_its_members():
    group = shop.Many("many", [ValueError("a"), ExceptionGroup("in", [shop.OutOfStock("tea", left=1)])])
    revived = back(group)
    assert type(revived) is shop.Many
    assert str(revived) == str(group)
    assert [type(e) for e in revived.exceptions] == [ValueError, ExceptionGroup]
    assert type(revived.exceptions[1].exceptions[0]) is shop.OutOfStock
    assert type(back(group, reach_of_function(len))) is ExceptionGroup


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError

    def __getattr__(self, name):
        raise RuntimeError(name)


def test_any_exception_can_be_recorded():
    for error in (Unprintable(), ValueError("\ud800"), ValueError([[]]), RecursionError("r")):
        assert isinstance(back(raised(error)), Exception)


def test_an_exception_that_holds_itself_can_be_recorded():
    error = ValueError("x")
    error.me = error
    deep = []
    for _ in range(5000):
        deep = [deep]
    error.deep = deep
    assert str(back(error)) == "x"


def test_an_exception_is_a_value_where_it_can_be_revived():
    data = codec.encode([KeyError("k"), raised(shop.OutOfStock("a", left=1))], reach=reach)
    assert b"traceback" not in data
    key, stock = codec.decode(data, reach=reach)
    assert (type(key), key.args, type(stock), stock.left) == (KeyError, ("k",), shop.OutOfStock, 1)


def test_an_exception_among_values_is_refused_where_it_cannot_be_revived():
    with pytest.raises(
        UnserializableValueError, match=r"result\[0\]: exception class codec_shop\.OutOfStock"
    ):
        codec.encode([shop.OutOfStock("a", left=1)], where="result")
    with pytest.raises(UnserializableValueError, match=r"result\[0\]\.args\[1\]: "):
        codec.encode([ValueError("a", shop.Conn())], where="result")


def test_printing_a_log_shows_the_recorded_name_of_an_unknown_exception():
    shown = codec.decode_lenient(codec.encode_error(shop.Refused("no")))
    assert (type(shown), shown.type, str(shown)) == (RecordedError, "codec_shop.Refused", "no")
