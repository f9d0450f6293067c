"""The suite in pytest: subclass `BackendConformance`, and every law is a test."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from ..errors import StorageUnavailable
from .broken import LawBroken, NotChecked
from .laws.registry import Check, all_checks
from .profiles import PROFILES, Profile
from .program import headline
from .runner import Look, applies, look_at, make_check, program_of
from .subject import KnownFailure, Subject

_looks: dict[type[Any], Look] = {}


class BackendConformance(Subject):
    """Every law as a test. Define `open`, and what else the backend can offer; see `Subject`.

    Attributes:
        profile: how thoroughly to look: ``quick``, ``default``, ``ci`` or ``nightly``. The
            environment's ``PYWORKFLOW_CONFORMANCE_PROFILE`` wins.
        seed: repeats the choices of an earlier run. Without one every run makes the same choices.
    """

    profile = "quick"
    seed = 0

    def __init_subclass__(cls, **more: Any) -> None:
        """Refuse a subclass that overrides a law."""
        super().__init_subclass__(**more)
        taken = [name for name in vars(cls) if name in _TESTS]
        if taken:
            raise TypeError(
                f"{cls.__name__} overrides {', '.join(taken)}: a law cannot be overridden. If the backend "
                "breaks it, say so in known_failures = (known_failure(law, reason, issue),)."
            )

    def _prove(self, check: Check) -> None:
        how = PROFILES[os.environ.get("PYWORKFLOW_CONFORMANCE_PROFILE", self.profile)]
        try:
            seen = self._look()
            if not applies(check, seen.capabilities):
                pytest.skip("declared, so it need not be absent" if check.absent else "not declared")
            self._settle(check.law, lambda: make_check(check, self, how, self.seed), check, seen)
        finally:
            self.remove_folder()

    def _look(self) -> Look:
        cls = type(self)
        if cls not in _looks:
            try:
                _looks[cls] = look_at(self)
            except StorageUnavailable as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(f"the storage cannot be reached: {error}")
        return _looks[cls]

    def _settle(self, law: int, prove: Callable[[], None], check: Check | None, seen: Look) -> None:
        known = next((k for k in self.known_failures if k.law == law), None)
        how = PROFILES[os.environ.get("PYWORKFLOW_CONFORMANCE_PROFILE", self.profile)]
        try:
            prove()
        except NotChecked as error:
            pytest.skip(str(error))
        except LawBroken as error:
            if known is not None:
                pytest.xfail(f"{known.reason} ({known.issue})")
            program = error.program if check is None else program_of(check, error, self, how, self.seed, seen)
            pytest.fail(f"{headline(error.law or law, error.said)}\n\n{program}", pytrace=False)
        if known is not None and check == [c for c in all_checks() if c.law == law][-1]:
            self._hold_to(known, how)

    def _hold_to(self, known: KnownFailure, how: Profile) -> None:
        """Strict: a law that no check finds broken may not be named as a known failure."""
        for check in all_checks():
            if check.law == known.law and applies(check, self._look().capabilities):
                try:
                    make_check(check, self, how, self.seed)
                except LawBroken:
                    return
        pytest.fail(f"law {known.law} is a known failure, but it holds: remove it from known_failures")

    def test_random_programs(self) -> None:
        """Random programs agree with the model."""
        from .machine import run_programs

        how = PROFILES[os.environ.get("PYWORKFLOW_CONFORMANCE_PROFILE", self.profile)]
        try:
            seen = self._look()
            _, broken = run_programs(self, how, self.seed, seen)
        finally:
            self.remove_folder()
        known = {k.law for k in self.known_failures}
        said = [f"{headline(b.law or 53, b.said)}\n\n{b.program}" for b in broken if b.law not in known]
        if said:
            pytest.fail("\n\n".join(said), pytrace=False)


def _test_of(check: Check) -> Callable[[BackendConformance], None]:
    def test(self: BackendConformance) -> None:
        self._prove(check)

    test.__name__ = f"test_law_{check.law:02}_{check.name}"
    test.__doc__ = check.prove.__doc__
    return test


_TESTS = {test.__name__: test for test in map(_test_of, all_checks())} | {
    "test_random_programs": BackendConformance.test_random_programs
}
for _name, _test in _TESTS.items():
    setattr(BackendConformance, _name, _test)
