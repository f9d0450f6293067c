"""Faulty stores: each is a small correct one with one ordinary bug, of the kind that is met in store code.

Their docstrings say what the programmer got wrong. Nothing here knows what looks for them.
"""
