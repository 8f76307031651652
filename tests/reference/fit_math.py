#!/usr/bin/env python3
"""Fits the polynomials of compiler/llvm/emit_math.c and prints their coefficients.

Each is a weighted minimax fit (Remez exchange on a fine Chebyshev grid, the function itself from mpmath at 40 digits), in the
variable v in [-1, 1] that spans the interval, or in the plain variable where the interval is symmetric. The weight turns the
error of the polynomial into the error that matters: relative for exp, of x * P for erf, of u * P for GELU.

    python3 fit_math.py            # needs numpy and mpmath
"""
import mpmath
import numpy

mpmath.mp.dps = 40
GRID = 4000


def remez(function, weight, low, high, degree, rounds=40):
    nodes = -numpy.cos(numpy.pi * numpy.arange(GRID + 1) / GRID)
    points = low + (high - low) * (nodes + 1) / 2
    values = numpy.array([float(function(mpmath.mpf(float(p)))) for p in points])
    weights = numpy.array([weight(float(p)) for p in points])
    reference = numpy.linspace(0, GRID, degree + 2).round().astype(int)
    coefficients, error = None, None
    for _ in range(rounds):
        basis = numpy.polynomial.chebyshev.chebvander(nodes[reference], degree)
        ripple = (-1.0) ** numpy.arange(degree + 2) / weights[reference]
        coefficients = numpy.linalg.solve(numpy.hstack([basis, ripple[:, None]]), values[reference])[:-1]
        error = (values - numpy.polynomial.chebyshev.chebval(nodes, coefficients)) * weights
        peaks, start = [], 0
        for i in range(1, len(error) + 1):
            if i == len(error) or numpy.sign(error[i]) != numpy.sign(error[start]):
                peaks.append(start + int(numpy.argmax(numpy.abs(error[start:i]))))
                start = i
        while len(peaks) > degree + 2:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if len(peaks) < degree + 2:
            break
        reference = numpy.array(peaks)
    return numpy.polynomial.chebyshev.cheb2poly(coefficients), numpy.abs(error).max()


def show(name, coefficients, error):
    print(f"{name}: largest error {error:.2e}, constant term first")
    print(", ".join(f"{c:.9e}" for c in coefficients))


BOUND = 5.25


def gelu_segments(segments, degree):
    """u Phi(-u) in d = u * scale - k, |d| <= 1/2, for k below `segments`; nothing from |u| = 5.25 on."""
    scale = (segments - 0.5) / BOUND
    below = lambda u: u * mpmath.erfc(u / mpmath.sqrt(2)) / 2
    rows, worst = [], 0
    for k in range(segments):
        c, error = remez(lambda d: below((k + d) / scale), lambda d: 1.0, 0 if k == 0 else -0.5, 0.5, degree)
        if k == 0:  # fitted on v in [-1, 1] that spans [0, 1/2]
            c = numpy.polynomial.Polynomial(c)(numpy.polynomial.Polynomial([-1, 4])).coef
        else:
            c = numpy.array([c[i] * 2**i for i in range(degree + 1)])
        rows.append(c)
        worst = max(worst, error)
    print(f"u Phi(-u), {segments} of degree {degree} and zero, scale {scale:.9f}: largest error {worst:.2e}; by power, constant terms first")
    for power in range(degree + 1):
        row = [f"{r[power]:.9e}" for r in rows] + ["0"]
        for at in range(0, len(row), 8):
            print("    " + ", ".join(row[at:at + 8]) + ",")
        print()


def main():
    half = float(mpmath.log(2)) / 2 * 1.0001
    tail = lambda r: (mpmath.exp(r) - 1 - r) / r**2 if abs(r) > 1e-9 else mpmath.mpf(1) / 2 + r / 6
    c, error = remez(tail, lambda r: r * r + 1e-9, -half, half, 4)
    show("(e^r - 1 - r) / r^2 in r, |r| <= ln(2) / 2", [c[i] / half**i for i in range(len(c))], error)
    power = lambda f: mpmath.mpf(2) ** f
    c, error = remez(power, lambda f: 2.0**-f, -0.5, 0.5, 5)
    show("2^f in f, |f| <= 1/2", [c[i] / 0.5**i for i in range(len(c))], error)
    for degree in 5, 3:
        c, error = remez(power, lambda f: 2.0**-f, 0, 1, degree)
        plain = numpy.polynomial.Polynomial(c)(numpy.polynomial.Polynomial([-1, 2])).coef
        show("2^f in f, 0 <= f < 1", plain, error)
    ratio = lambda s: mpmath.erf(mpmath.sqrt(s)) / mpmath.sqrt(s) if s > 0 else 2 / mpmath.sqrt(mpmath.pi)
    c, error = remez(ratio, lambda s: max(s**0.5, 0.3), 0, 16, 16)
    show("erf(x) / x in v = x^2 / 8 - 1, |x| <= 4", c, error)
    gelu_segments(31, 3)
    gelu_segments(7, 5)


if __name__ == "__main__":
    main()
