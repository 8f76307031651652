"""What every reference test needs: the vitc binary, timm's import, counted checks, and the measure of error.

    checks = Checks()
    checks.close("tiny: logits", got, want)       # largest absolute error over the standard deviation of want, at most 2e-5
    checks.finish()                               # prints "N passed, N failed" and exits"""

import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VITC = os.environ.get("VITC", str(ROOT / "build" / "vitc"))
FP32_TOLERANCE = 2e-5

sys.path.insert(0, str(ROOT / "examples" / "digits"))
from digits import import_timm  # noqa: E402, F401


def vitc(*args, status=0):
    """Runs vitc and returns its stdout; another exit status than the expected one is an error with what it printed."""
    result = subprocess.run([VITC, *map(str, args)], capture_output=True, text=True, timeout=600)
    if result.returncode != status:
        raise AssertionError(f"vitc {' '.join(map(str, args))}: exit status {result.returncode}: {result.stderr.strip()}")
    return result.stdout


def error(got, want):
    """Largest absolute error over the standard deviation of what is wanted."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        raise AssertionError(f"shape {got.shape}, wanted {want.shape}")
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - want).max() / want.std())


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, condition, detail=""):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
        print(f"{'pass' if condition else 'FAIL'}  {name}{'  ' + str(detail) if detail else ''}", flush=True)
        return bool(condition)

    def close(self, name, got, want, tolerance=FP32_TOLERANCE):
        value = error(got, want)
        return self.check(name, value <= tolerance, f"error {value:.2e}, at most {tolerance:.0e}")

    def run(self, name, function, *args):
        """A check that is a function: it fails when the function raises."""
        try:
            function(*args)
        except Exception as fault:  # noqa: BLE001: every fault is a failed check, and the others still run
            return self.check(name, False, f"{type(fault).__name__}: {fault}")
        return True

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)
