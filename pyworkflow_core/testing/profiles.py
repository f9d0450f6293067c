"""How thoroughly a run of the suite looks."""

from __future__ import annotations

from msgspec import Struct


class Profile(Struct, frozen=True, kw_only=True):
    """How thoroughly a run looks.

    Attributes:
        name: its name.
        examples: random programs.
        steps: most calls in one of them.
        rounds: how often a race is run.
        racers: handles, or tasks, that race.
        kills: processes killed while they append.
        bytes: places of a log's tail at which it is cut; 0 for every one.
        flips: bytes of a log that are damaged.
        large: size of the largest event that is tried, in bytes.
        same: whether every run makes the same choices, whatever its seed.
    """

    name: str
    examples: int
    steps: int
    rounds: int
    racers: int
    kills: int
    bytes: int
    flips: int
    large: int
    same: bool = False


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="quick",
            examples=25,
            steps=25,
            rounds=3,
            racers=6,
            kills=3,
            bytes=40,
            flips=40,
            large=300_000,
        ),
        Profile(
            name="default",
            examples=100,
            steps=40,
            rounds=12,
            racers=8,
            kills=10,
            bytes=0,
            flips=250,
            large=1_000_000,
        ),
        Profile(
            name="ci",
            examples=150,
            steps=40,
            rounds=12,
            racers=8,
            kills=10,
            bytes=0,
            flips=250,
            large=1_000_000,
            same=True,
        ),
        Profile(
            name="nightly",
            examples=3000,
            steps=80,
            rounds=100,
            racers=16,
            kills=200,
            bytes=0,
            flips=5000,
            large=4_000_000,
        ),
    )
}
"""The profiles by name."""
