"""Types of the application: registered, annotated, or refused."""

import functools
import pathlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import ForwardRef, Literal, NewType, TypeVar

import msgspec
import pytest

from pyworkflow_core.codec import Codec, Opaque, reach_of_function, reach_of_type
from pyworkflow_core.errors import (
    ConfigurationError,
    MalformedValueError,
    UnknownTypeError,
    UnserializableValueError,
)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
try:
    import codec_shop as shop
finally:
    sys.path.pop(0)

codec = Codec()
order_reach = reach_of_function(shop.order)
item = shop.Item("a", Decimal("1.5"))


def back(value, annotation=None):
    reach = reach_of_type(type(value) if annotation is None else annotation)
    return codec.decode(codec.encode(value, reach=reach), reach=reach)


@pytest.mark.parametrize(
    "value",
    [
        shop.Color.RED,
        shop.Size.SMALL,
        shop.Level.LOW,
        shop.Access.READ,
        shop.Access.READ | shop.Access.WRITE,
        shop.Access(0),
        shop.Point(1, 2.5),
        item,
        shop.Line(item=item, note=shop.Line(item=item)),
        shop.Box((1, {2})),
        shop.Box(item),
        shop.Parcel(datetime(2026, 1, 1, tzinfo=UTC), (item,)),
        shop.Counted(3),
        shop.Account(accountName="x", items=[item]),
        shop.Loose(n=1, more=(2,)),
    ],
    ids=repr,
)
def test_a_value_of_an_annotated_type_comes_back(value):
    revived = back(value, type(value) | shop.Item)
    assert revived == value
    assert type(revived) is type(value)
    assert repr(revived) == repr(value)


def test_the_type_is_named_by_module_and_qualified_name():
    reach = reach_of_type(shop.Color)
    assert codec.encode(shop.Color.RED, reach=reach) == b'{"$":"enum","t":"codec_shop.Color","v":"RED"}'


def test_everything_that_a_signature_names_is_reachable():
    names = {name.removeprefix("codec_shop.") for name in order_reach.types}
    assert names >= {
        "Basket",
        "Line",
        "Item",
        "Color",
        "Parcel",
        "Account",
        "Loose",
        "Box",
        "Point",
        "Counted",
    }
    assert names.isdisjoint({"Size", "Level", "OutOfStock"})


def test_names_that_only_a_type_checker_sees_cost_only_themselves():
    reach = reach_of_function(shop.half_seen)
    assert list(reach.types) == ["codec_shop.Item"]
    assert set(reach.unresolved) == {"Invisible"}
    with pytest.raises(UnserializableValueError, match="could not be resolved: Invisible"):
        codec.encode(shop.Color.RED, reach=reach)


def test_reaches_can_be_joined():
    reach = reach_of_type(shop.Color) | reach_of_type(list["shop.Nowhere"] | shop.Item)
    assert set(reach.types) == {"codec_shop.Color", "codec_shop.Item"}


def test_no_constructor_runs_when_a_dataclass_is_revived():
    basket = shop.Basket([shop.Line(item=item)], factor=3)
    assert basket.size is not None
    shop.built.clear()
    revived = back(basket)
    assert shop.built == []
    assert (revived.lines, revived.total) == (basket.lines, 3)
    assert revived.stray == 3
    assert not hasattr(revived, "late")
    assert "size" not in vars(revived)


def test_a_struct_keeps_the_recorded_fields_whatever_its_post_init_does():
    assert back(shop.Counted(1)).n == 2


def test_a_model_is_not_validated_again_and_keeps_private_and_unset_fields():
    account = shop.Account(accountName="x")
    account._secret = 8
    revived = back(account)
    assert revived.name == "x!"
    assert revived._secret == 8
    assert revived.model_fields_set == {"name"}


def test_a_field_gained_with_a_default_gets_it_and_one_without_is_named():
    reach = reach_of_type(shop.Line | shop.Account | shop.Point | shop.Counted)

    def read(name, fields):
        return codec.decode(f'{{"$":"object","t":"codec_shop.{name}","v":{fields}}}'.encode(), reach=reach)

    assert read("Item", '{"sku":"a"}') == shop.Item("a")
    assert read("Point", '{"x":1}') == shop.Point(1)
    assert read("Account", '{"name":"n"}').items == []
    for name, fields, lost in (
        ("Item", '{"sku":1,"gone":2}', "gone"),
        ("Item", "{}", "sku"),
        ("Point", '{"x":1,"gone":1}', "gone"),
        ("Point", "{}", "x"),
        ("Account", '{"name":"n","gone":1}', "gone"),
        ("Account", "{}", "name"),
        ("Counted", '{"n":1,"gone":1}', "gone"),
        ("Counted", "{}", "n"),
    ):
        with pytest.raises(MalformedValueError, match=rf"codec_shop\.{name}.*\b{lost}\b"):
            read(name, fields)


@pytest.mark.parametrize("value", [item, shop.Color.RED, shop.Point(1), shop.Loose(n=1), shop.Counted(1)])
def test_a_type_that_nothing_names_is_refused_with_advice(value):
    with pytest.raises(UnserializableValueError, match=r"^result\['x'\]: .*annotate.*register\(") as caught:
        codec.encode({"x": value}, where="result")
    assert caught.value.path == "result['x']"


def test_the_path_goes_through_fields():
    value = {"items": [0, 1, 2, shop.Item("a", shop.Conn())]}
    with pytest.raises(UnserializableValueError) as caught:
        codec.encode(value, where="result", reach=order_reach)
    assert caught.value.path == "result['items'][3].price"
    assert "codec_shop.Conn" in str(caught.value)


def test_a_type_out_of_reach_is_unknown_and_opaque_when_printed():
    data = codec.encode([item], reach=reach_of_type(shop.Item))
    with pytest.raises(UnknownTypeError, match=r"codec_shop\.Item"):
        codec.decode(data)
    assert codec.decode_lenient(data) == [Opaque("codec_shop.Item", {"sku": "a", "price": Decimal("1.5")})]
    assert {Opaque("a", [1]): 1}[Opaque("a", [1])] == 1


def test_reading_never_imports():
    data = b'{"$":"object","t":"antigravity.X","v":{}}'
    before = set(sys.modules)
    with pytest.raises(UnknownTypeError):
        codec.decode(data, reach=order_reach)
    codec.decode_error(b'{"$":"error","type":"antigravity.X","message":"m"}', reach=order_reach)
    assert set(sys.modules) == before


def test_a_local_class_works_when_annotated():
    @dataclass
    class Local:
        n: int

    def step(x: "list[Local]") -> None:
        assert Local

    reach = reach_of_function(step)
    assert codec.decode(codec.encode([Local(1)], reach=reach), reach=reach) == [Local(1)]


def test_another_class_of_the_same_name_is_refused():
    def make():
        @dataclass
        class Twin:
            n: int

        return Twin

    one, other = make(), make()
    with pytest.raises(UnserializableValueError, match="another class of the name"):
        codec.encode(other(1), reach=reach_of_type(one | other))


def test_a_registered_class_needs_no_annotation():
    own = Codec()

    @own.register
    @dataclass
    class A:
        n: int

    own.register(shop.Money, name="money", encode=int, decode=shop.Money)
    own.register(shop.Conn, encode=lambda conn: [1], decode=lambda plain: shop.Conn())
    assert own.decode(own.encode([A(1)])) == [A(1)]
    money = own.decode(own.encode({"m": shop.Money(5)}))["m"]
    assert (type(money), money) == (shop.Money, 5)
    assert own.encode(shop.Money(5)) == b'{"$":"custom","t":"money","v":5}'
    assert type(own.decode(own.encode(shop.Conn()))) is shop.Conn


def test_registering_takes_effect_after_a_refusal():
    own = Codec()
    with pytest.raises(UnserializableValueError):
        own.encode(item, reach=reach_of_type(int))
    assert own.register(name="Item")(shop.Item) is shop.Item
    assert own.decode(own.encode(item)) == item


def test_a_renamed_class_reads_its_old_name_and_writes_its_new_one():
    own = Codec()
    own.register(shop.Color, name="old.Color")
    old = own.encode(shop.Color.RED)
    own.register(shop.Color)
    assert own.decode(old) is shop.Color.RED
    assert b"codec_shop.Color" in own.encode(shop.Color.RED)


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (shop.Item, {"name": "taken"}),
        (shop.Conn, {}),
        (shop.Item, {"encode": str}),
        (int, {}),
        (3, {}),
        (datetime, {"encode": str, "decode": str}),
    ],
)
def test_a_registration_that_cannot_work_is_refused(cls, options):
    own = Codec()
    own.register(shop.Color, name="taken")
    with pytest.raises(ConfigurationError):
        own.register(cls, **options)


def test_functions_that_fail_are_reported():
    own = Codec()
    own.register(shop.Conn, encode=lambda conn: conn.nothing, decode=lambda plain: 1 / 0)
    with pytest.raises(
        UnserializableValueError, match=r"value\[0\]: the encode function of codec_shop\.Conn"
    ):
        own.encode([shop.Conn()])
    with pytest.raises(MalformedValueError, match=r"decode function of codec_shop\.Conn"):
        own.decode(b'{"$":"custom","t":"codec_shop.Conn","v":1}')


@pytest.mark.parametrize("func", [len, shop.nothing, print, shop.Conn(), functools.partial(shop.nothing)])
def test_a_function_without_annotations_reaches_nothing(func):
    assert not reach_of_function(func).types


class Wide(msgspec.Struct, dict=True):
    n: int


class Named(shop.Point):
    """A subclass of a NamedTuple has a dictionary of its own."""


def test_attributes_that_are_no_fields_come_back():
    wide, named = Wide(1), Named(1, 2.0)
    wide.more = named.more = (1,)
    assert back(wide).more == (1,)
    assert back(named).more == (1,)
    assert type(back(named)) is Named


Choice = NewType("Choice", shop.Color)
Some = TypeVar("Some", bound=shop.Item)


def test_aliases_type_variables_and_callables_are_looked_through():
    def step(
        a: Choice, b: Some, c: "Callable[[shop.Point], Literal[shop.Level.LOW]]", d: ForwardRef("shop.Box")
    ): ...

    assert {name.split(".")[1] for name in reach_of_function(step).types} == {
        "Color",
        "Item",
        "Point",
        "Level",
        "Box",
    }
