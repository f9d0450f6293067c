"""Values to bytes and back (being written)."""
