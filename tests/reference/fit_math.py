#!/usr/bin/env python3
"""Fits the polynomials of compiler/llvm/emit_math.c and prints their coefficients.

Each is a weighted minimax fit (Remez exchange on a fine Chebyshev grid, the function itself from mpmath at 40 digits), in the
variable v in [-1, 1] that spans the interval, or in the plain variable where the interval is symmetric. The weight turns the
error of the polynomial into the error that matters: relative for exp, of x * P for erf, absolute for the tables.

    python3 fit_math.py            # needs numpy and mpmath
    python3 fit_math.py --gelu     # compiler/llvm/gelu.def
"""
import sys
import textwrap

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


def erf_tail(u):
    """u Phi(-u): what GELU (erf) of |x| = u lacks to max(x, 0)."""
    return u * mpmath.erfc(u / mpmath.sqrt(2)) / 2


def tanh_tail(u):
    """The same of GELU (tanh)."""
    return u / (1 + mpmath.exp(mpmath.sqrt(8 / mpmath.pi) * (u + mpmath.mpf("0.044715") * u**3)))


def plain(coefficients, low, high):
    """Of v in [-1, 1] that spans [low, high], as of the plain variable."""
    to_v = numpy.polynomial.Polynomial([-(high + low) / (high - low), 2 / (high - low)])
    return numpy.polynomial.Polynomial(coefficients)(to_v).coef


def show_segments(declaration, note, forms):
    """A table of C: for each form one row of numbers for each power, constant terms first."""
    worst = max(error for _, error in forms)
    print(f"/* {note} Largest error {worst:.1e}. */\nstatic const double {declaration} = {{")
    for rows, _ in forms:
        print("    {")
        for power in range(len(rows[0])):
            numbers = ", ".join(f"{row[power]:.9g}" for row in rows)
            print(textwrap.fill(f"{{{numbers}}},", 120, initial_indent=" " * 8, subsequent_indent=" " * 9))
        print("    },")
    print("};\n")


def gelu_tails(tail, segments, degree, bound):
    """In d = u * scale - k, |d| <= 1/2, for k below `segments`; nothing from |u| = bound on."""
    scale, rows, worst = (segments - 0.5) / bound, [], 0
    for k in range(segments):
        low = 0 if k == 0 else -0.5
        c, error = remez(lambda d: tail((k + d) / scale), lambda d: 1.0, low, 0.5, degree)
        rows.append(plain(c, low, 0.5))
        worst = max(worst, error)
    return rows + [numpy.zeros(degree + 1)], worst


def gelu_whole(tail, bound):
    """In x, for k = round(x * scale) + 16: 0 for k = 0, x for k = 31, which begins at `bound`."""
    scale, rows, worst = 14.5 / bound, [numpy.zeros(3)], 0
    for k in range(1, 31):
        low, high = (k - 16.5) / scale, (k - 15.5) / scale
        c, error = remez(lambda x: max(x, 0) - tail(abs(x)), lambda x: 1.0, low, high, 2)
        rows.append(plain(c, low, high))
        worst = max(worst, error)
    return rows + [numpy.array([0, 1, 0])], worst


def show_gelu():
    print("/* GELU by segments, [0] by erf and [1] by tanh: what tests/reference/fit_math.py --gelu prints. */\n")
    tails = erf_tail, tanh_tail
    show_segments("cubics[2][4][32]", "The tail in d, scale 5.80952381; zero from u = 5.25 on, where it is below 4e-7.",
                  [gelu_tails(tail, 31, 3, 5.25) for tail in tails])
    show_segments("quintics[2][6][8]", "The tail in d, scale 1.238095238; zero from u = 5.25 on.",
                  [gelu_tails(tail, 7, 5, 5.25) for tail in tails])
    show_segments("rough_cubics[2][4][8]", "The tail in d, scale 1.547619048; zero from u = 4.2 on, where it is below 5.7e-5.",
                  [gelu_tails(tail, 7, 3, 4.2) for tail in tails])
    show_segments("rough_whole[2][3][32]", "GELU in x, k = round(x * 3.536585366) + 16: zero for k = 0 and x for k = 31.",
                  [gelu_whole(tail, 4.1) for tail in tails])


def main():
    half = float(mpmath.log(2)) / 2 * 1.0001
    tail = lambda r: (mpmath.exp(r) - 1 - r) / r**2 if abs(r) > 1e-9 else mpmath.mpf(1) / 2 + r / 6
    c, error = remez(tail, lambda r: r * r + 1e-9, -half, half, 4)
    show("(e^r - 1 - r) / r^2 in r, |r| <= ln(2) / 2", [c[i] / half**i for i in range(len(c))], error)
    power = lambda f: mpmath.mpf(2) ** f
    c, error = remez(power, lambda f: 2.0**-f, -0.5, 0.5, 5)
    show("2^f in f, |f| <= 1/2", [c[i] / 0.5**i for i in range(len(c))], error)
    c, error = remez(power, lambda f: 2.0**-f, -1 / 16, 1 / 16, 3)
    show("2^f in f, |f| <= 1/16", [c[i] * 16**i for i in range(len(c))], error)
    bits = numpy.array([2.0 ** (i / 8) for i in range(8)], dtype="f4").view("i4")
    print("bits of 2^(i / 8) less i * 2^20:", ", ".join(str(int(b) - (i << 20)) for i, b in enumerate(bits)))
    for degree in 5, 3:
        c, error = remez(power, lambda f: 2.0**-f, 0, 1, degree)
        plain = numpy.polynomial.Polynomial(c)(numpy.polynomial.Polynomial([-1, 2])).coef
        show("2^f in f, 0 <= f < 1", plain, error)
    ratio = lambda s: mpmath.erf(mpmath.sqrt(s)) / mpmath.sqrt(s) if s > 0 else 2 / mpmath.sqrt(mpmath.pi)
    c, error = remez(ratio, lambda s: max(s**0.5, 0.3), 0, 16, 16)
    show("erf(x) / x in v = x^2 / 8 - 1, |x| <= 4", c, error)


if __name__ == "__main__":
    show_gelu() if "--gelu" in sys.argv else main()
