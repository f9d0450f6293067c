"""Types of the standard library come back exactly."""

import contextlib
import math
import subprocess
import sys
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyworkflow_core.codec import Codec, Opaque
from pyworkflow_core.errors import CodecError, MalformedValueError, UnserializableValueError

codec = Codec()
berlin = ZoneInfo("Europe/Berlin")


def back(value):
    return codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, 3, 4, 5, 6),
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(1, 1, 1),
        datetime.max,
        datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=-3, seconds=7))),
        date(2026, 2, 3),
        time(1, 2, 3, 4),
        time(1, tzinfo=UTC),
        timedelta(-1, 2, 3),
        timedelta.max,
        Decimal("1.10"),
        Decimal("-0"),
        Decimal("1E+400"),
        UUID(int=5),
        b"",
        b"\x00\xff",
        bytearray(b"a"),
        complex(1, -2),
        (),
        ((),),
        (1, (2,)),
        {1, 2},
        set(),
        frozenset({(1, 2)}),
        {frozenset(), 1, "a"},
        Path("a/b"),
        PurePosixPath("/x"),
        PureWindowsPath("C:/x"),
        {(1, b"x"): {Decimal(1)}},
        [datetime(2026, 1, 1)],
        {"$": (1,)},
    ],
    ids=repr,
)
def test_a_value_of_the_standard_library_comes_back_with_its_type(value):
    revived = back(value)
    assert revived == value
    assert type(revived) is type(value)
    assert codec.encode(revived) == codec.encode(value)


def test_a_tuple_comes_back_a_tuple():
    assert codec.encode((1, 2)) == b'{"$":"tuple","v":[1,2]}'
    assert back((1, 2)) == (1, 2)


@pytest.mark.parametrize("fold", [0, 1])
def test_a_zone_and_fold_come_back(fold):
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold)
    revived = back(moment)
    assert revived.tzinfo is berlin
    assert revived.fold == fold
    assert revived.utcoffset() == moment.utcoffset()
    assert back(time(2, 30, fold=fold, tzinfo=berlin)).tzinfo is berlin


def test_a_fixed_zones_name_comes_back():
    revived = back(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")))
    assert revived.tzname() == "CET"


def test_complex_and_decimal_specials_come_back():
    assert math.isnan(back(complex(math.nan, -0.0)).real)
    assert math.copysign(1, back(complex(1, -0.0)).imag) == -1
    assert str(back(Decimal("sNaN12"))) == "sNaN12"


def test_the_order_of_a_dictionary_comes_back():
    assert list(back({"b": 1, "a": (), 3: 4})) == ["b", "a", 3]


class Tag(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        Tag("a"),
        {Tag("k"): 1},
        OrderedDict(a=1),
        defaultdict(list),
        type("I", (int,), {})(1),
        object(),
        len,
        int,
        lambda: 0,
        iter([]),
        memoryview(b""),
        datetime(2026, 1, 1, tzinfo=type("Z", (type(UTC).__base__,), {})()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused(value):
    with pytest.raises(UnserializableValueError) as caught:
        codec.encode({"items": [0, (value,)]}, where="result")
    assert caught.value.path.startswith("result['items'][1][0]")
    assert str(caught.value).startswith(caught.value.path)


@pytest.mark.parametrize(
    "tag",
    [
        "{}",
        '{"v":1}',
        '"int","v":1',
        '"int","v":"x"',
        '"float","v":"1"',
        '"float","v":[]',
        '"datetime"',
        '"datetime","v":7',
        '"datetime","v":"2026-13-01"',
        '"datetime","v":"2026-01-01","z":"../../etc/passwd"',
        '"datetime","v":"2026-01-01","z":"No/Where"',
        '"timedelta","v":[1]',
        '"timedelta","v":[1e300,0,0]',
        '"decimal","v":1.5',
        '"decimal","v":"x"',
        '"uuid","v":"x"',
        '"bytes","v":"*"',
        '"bytes","v":"é"',
        '"complex","v":["a","b"]',
        '"path","v":["os.system","x"]',
        '"path","v":3',
        '"tuple","v":{}',
        '"set","v":[[]]',
        '"dict","v":[[[],1]]',
        '"dict","v":[1]',
        '"dict","v":{}',
        '"enum"',
        '"object","t":[]',
        '"nope","v":1',
        "null",
        "[]",
        "7",
        '"object","t":"os.system","v":{}',
        '"custom","t":"os.system","v":"id"',
        '"enum","t":"os.system","v":"x"',
        '"error"',
        '"error","type":1,"message":2',
        '"error","type":"x"',
        '"error","type":"builtins.ValueError","message":"m","cause":3',
        '"error","type":"builtins.ValueError","message":"m","notes":[3]',
        '"error","type":"builtins.ValueError","message":"m","state":[3]',
        '"error","type":"builtins.ValueError","message":"m","members":[3]',
    ],
)
def test_hostile_tags_are_errors_of_the_codec_and_readable_leniently(tag):
    data = f'[{{"$":{tag}}}]'.encode()
    with pytest.raises(CodecError):
        codec.decode(data)
    [shown] = codec.decode_lenient(data)
    assert isinstance(shown, Opaque)


def test_nested_hostile_tags_are_read_in_linear_time():
    data = b'{"$":"set","v":[[' * 40 + b"1" + b"]]}" * 40
    assert isinstance(codec.decode_lenient(data), Opaque)


def test_a_tag_without_its_value_is_malformed():
    with pytest.raises(MalformedValueError):
        codec.decode(b'{"$":"decimal"}')


_PROGRAM = """
from pyworkflow_core.codec import Codec
print(Codec().encode([{"b", "a", "c", 1, (2,)}, frozenset("xyz"), {frozenset("pq"): {b"1", b"2"}}]))
"""


def test_the_bytes_do_not_depend_on_hash_seeds():
    seen = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(seen) == 1


text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["$", "v", "t", "tuple", "dict"])
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.binary()
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.complex_numbers(allow_nan=False)
)
keys = leaves | st.tuples(text, leaves) | st.frozensets(leaves)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(text, inner)
        | st.dictionaries(keys, inner)
        | st.sets(keys)
        | st.frozensets(keys)
    ),
    max_leaves=20,
)


@given(values)
def test_every_value_comes_back(value):
    data = codec.encode(value)
    revived = codec.decode(data)
    assert revived == value
    assert codec.encode(revived) == data
    assert b"\n" not in data
    assert codec.decode_lenient(data) == value


json_values = st.recursive(
    st.none()
    | st.integers()
    | text
    | st.sampled_from(["int", "set", "error", "object", "builtins.ValueError"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["$", "v", "t", "x", "type", "message", "args", "state"]), inner)
    ),
    max_leaves=15,
)


@given(json_values)
def test_any_json_is_either_read_or_an_error_of_the_codec(tree):
    import msgspec

    data = msgspec.json.encode(tree)
    codec.decode_lenient(data)
    with contextlib.suppress(CodecError):
        codec.decode(data)
    assert codec.decode(codec.encode(tree)) == tree
