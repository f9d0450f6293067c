"""URLs and options of the Redis backend."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import SSLConnection

from pyworkflow_core.errors import ConfigurationError
from pyworkflow_core.plugins import open_storage
from pyworkflow_redis import RedisStorageBackend
from pyworkflow_redis.options import read_url


def test_a_servers_url_has_user_password_host_port_and_database() -> None:
    target, options = read_url("redis://u%40x:p%2Fw@example.org:6380/3?client_name=me", {})
    assert target.addresses == (("example.org", 6380),)
    asked = {name: target.connect[name] for name in ("username", "password", "db", "client_name")}
    assert asked == {"username": "u@x", "password": "p/w", "db": 3, "client_name": "me"}
    assert options.namespace == "pyworkflow"
    assert "p%2Fw" not in target.shown


def test_options_stand_in_the_url_or_beside_it_which_wins() -> None:
    _, options = read_url(
        "redis://h?namespace=a&buckets=7&feed=yes&timeout=2.5&ack=wait:2", {"namespace": "b"}
    )
    assert (options.namespace, options.buckets, options.feed, options.timeout) == ("b", 7, True, 2.5)
    assert options.replicas == 2


def test_sentinels_have_a_primarys_name_and_a_password_of_their_own() -> None:
    url = "redis+sentinel://u:data@s1:1,s2/main/4?sentinel_password=guard&ssl_check_hostname=false"
    target, _ = read_url(url.replace("redis+", "rediss+"), {})
    assert target.addresses == (("s1", 1), ("s2", 26379))
    assert (target.service, target.connect["db"], target.connect["password"]) == ("main", 4, "data")
    assert (target.ask["password"], target.ask.get("username"), target.ask["db"]) == ("guard", None, 0)
    assert target.ask["connection_class"] is target.connect["connection_class"] is SSLConnection


def test_a_cluster_has_many_hosts_and_ipv6_has_brackets() -> None:
    target, _ = read_url("redis+cluster://a:1,[::1]:2,c", {})
    assert target.addresses == (("a", 1), ("::1", 2), ("c", 6379))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h/x", "number of a database"),
        ("redis://h/0/1", "number of a database"),
        ("redis+cluster://h/1", "no numbered databases"),
        ("redis+sentinel://h", "primary's name"),
        ("redis://a,b", "names several servers"),
        ("redis://h:port", "not a host with a port"),
        ("redis://h?namespace=a:b", "letters, digits"),
        ("redis://h?namespace=", "letters, digits"),
        ("redis://h?ack=sometimes", "wait:N"),
        ("redis://h?eviction=maybe", "refuse"),
        ("redis://h?buckets=0", "1 to 4096"),
        ("redis://h?buckets=many", "whole number"),
        ("redis://h?feed=perhaps", "1 or 0"),
        ("redis://h?timeout=soon", "a number"),
        ("redis://h?timeout=-1", "positive"),
        ("redis://h?no_such_option=1", "does not know"),
        ("redis://h#part", "write redis://"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str, said: str) -> None:
    secret = url.replace("://", "://user:hidden@")
    with pytest.raises(ConfigurationError) as caught:
        RedisStorageBackend(secret)
    assert said in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_an_option_that_does_not_exist_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no option 'nonsense'"):
        RedisStorageBackend("redis://h", nonsense=1)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster", "rediss+cluster"])
def test_every_scheme_opens_a_handle_without_connecting(scheme: str) -> None:
    store: Any = open_storage(f"{scheme}://:hidden@nowhere.invalid/{'main' if 'sentinel' in scheme else ''}")
    assert isinstance(store, RedisStorageBackend)
    assert "hidden" not in repr(store)


def test_what_a_namespace_was_made_of_cannot_be_changed(namespace: Any) -> None:
    async def nothing(store: object) -> None:
        pass

    namespace.run(nothing, feed=True, buckets=3)
    namespace.run(nothing, feed=True)
    with pytest.raises(ConfigurationError, match="was made with a feed"):
        namespace.run(nothing, feed=False)
    with pytest.raises(ConfigurationError, match="made of 3 buckets"):
        namespace.run(nothing, buckets=1)
