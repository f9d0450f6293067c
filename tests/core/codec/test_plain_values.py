"""Values that JSON has, and those that look as if it had them."""

import json
import math

import pytest

from pyworkflow_core.codec import Codec
from pyworkflow_core.errors import MalformedValueError, UnserializableValueError

codec = Codec()


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    return a == b


def back(value):
    return codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        1.0,
        -0.0,
        1e300,
        5e-324,
        "",
        "é\n\u2028\x00",
        [],
        {},
        [True, 1, 1.0],
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**5000,
        math.nan,
        math.inf,
        -math.inf,
        [math.nan],
        {"a": [math.inf]},
        {"b": 1, "a": 2},
        {2: "a", "2": "b", None: 3, True: 4, (1, 2): 5, 1.5: 6},
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_a_plain_value_comes_back_exactly(value):
    assert same(back(value), value)


@pytest.mark.parametrize(
    "value",
    [
        {"$": "tuple", "v": [1]},
        {"$": None},
        {"$": {"$": {"$": "int", "v": "0x1"}}},
        {"v": 1, "$": [1], "t": 2},
        [{"$": "dict", "v": [["$", 1]]}],
        {"$": "error", "type": "builtins.SystemExit", "message": ""},
        "$",
        ["$"],
        '"$"',
        {'"$"': 1},
        {"a": '{"$":"set"}'},
        {7: {"$": 1}},
        {("$",): {"$": ()}},
    ],
    ids=repr,
)
def test_user_data_that_looks_like_a_tag_comes_back_exactly(value):
    assert same(back(value), value)


def test_plain_values_are_written_as_plain_json():
    value = {"a": [1, "x", None, {"b": 2.5}]}
    assert codec.encode(value) == b'{"a":[1,"x",null,{"b":2.5}]}'


def test_what_is_written_is_one_line_of_json():
    data = codec.encode({"a\nb": ("\r\n", {1: 2}, b"x")})
    assert len(data.splitlines()) == 1
    json.loads(data)


def test_memory_views_and_raws_are_decoded():
    import msgspec

    assert codec.decode(memoryview(b"[1]")) == [1]
    assert codec.decode(msgspec.Raw(b'{"$":"tuple","v":[1]}')) == (1,)


def test_a_cycle_is_refused_and_named():
    value = {"a": [1]}
    value["a"].append(value)
    with pytest.raises(UnserializableValueError, match=r"result\['a'\]\[1\]: .*contains itself"):
        codec.encode(value, where="result")


def test_a_wide_cycle_is_refused_at_once():
    value = []
    value.extend([value] * 10)
    with pytest.raises(UnserializableValueError, match="contains itself"):
        codec.encode(value)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}])
def test_deep_nesting_is_refused_and_never_a_recursion_error(wrap):
    value = 1
    for _ in range(5000):
        value = wrap(value)
    with pytest.raises(UnserializableValueError):
        codec.encode(value)
    with pytest.raises(UnserializableValueError):
        codec.encode_args((value,), {"k": value})


def test_whatever_depth_is_written_is_read():
    for wrap in (lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, lambda v: {"$": v}):
        value = ()
        for _ in range(300):
            try:
                data = codec.encode(wrap(value))
            except UnserializableValueError:
                break
            value = wrap(value)
            assert codec.decode(data) == value


@pytest.mark.parametrize(
    "value",
    ["\ud800", ["a", "\udfff"], {"\ud800": 1}, {1: "\ud800"}, ("\ud800",), {"a": {"\ud800"}}],
    ids=ascii,
)
def test_a_lone_surrogate_is_refused_with_its_path(value):
    with pytest.raises(UnserializableValueError, match="lone surrogate") as caught:
        codec.encode(value, where="result")
    assert caught.value.path.startswith("result")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nope",
        b"[1]x",
        b"\xff",
        b'"\xff"',
        b"1e999",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"$":"tuple","v":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=lambda data: repr(data[:12]),
)
def test_bytes_that_are_not_the_codecs_are_malformed(data):
    for decode in (codec.decode, codec.decode_lenient, codec.decode_args, codec.decode_error):
        with pytest.raises(MalformedValueError):
            decode(data)


def test_tags_nested_deeper_than_is_ever_written_are_malformed():
    data = b'[{"$":"tuple","v":' * 130 + b"[]" + b"}]" * 130
    for decode in (codec.decode, codec.decode_lenient):
        with pytest.raises(MalformedValueError, match="deep"):
            decode(data)


def test_arguments_are_written_as_two_lists_with_sorted_keywords():
    assert codec.encode_args((1, "a"), {"z": 1, "b": None}) == b'[[1,"a"],{"b":null,"z":1}]'
    assert codec.encode_args((), {}) == b"[[],{}]"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, (2,), {3}), {"a": (1,)}), (({"$": 1},), {"$": "tuple", "v": [1]}), (("$",), {"a": b""})],
)
def test_arguments_come_back(args, kwargs):
    assert codec.decode_args(codec.encode_args(args, kwargs)) == (args, kwargs)


@pytest.mark.parametrize(
    "data", [b"[]", b"[1,2]", b"[[],{},1]", b'[[],{"$":"tuple","v":[]}]', b'{"$":"tuple","v":[]}']
)
def test_arguments_of_another_form_are_malformed(data):
    with pytest.raises(MalformedValueError):
        codec.decode_args(data)


def test_a_bad_argument_is_named():
    with pytest.raises(UnserializableValueError) as caught:
        codec.encode_args((1, [object()]), {}, where="charge")
    assert caught.value.path == "charge[1][0]"
    with pytest.raises(UnserializableValueError) as caught:
        codec.encode_args((1,), {"who": {"x": object()}})
    assert caught.value.path == "args['who']['x']"
