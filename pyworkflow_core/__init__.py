"""The core: event types, logs and sequencing, replay, the storage contract, plugin discovery.

It depends on msgspec and pluggy only, names no backend and does no I/O of its own.
"""
