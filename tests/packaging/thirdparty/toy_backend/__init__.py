"""A storage backend that a stranger wrote: a dictionary behind the storage contract."""
