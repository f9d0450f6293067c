"""The Redis backend."""

from pyworkflow_redis.backend import RedisStorageBackend as RedisStorageBackend
