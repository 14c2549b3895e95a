#!/usr/bin/env python3
"""polar.py STEPS LOWER: the table of src/optim/muon.c.

STEPS odd polynomials c0 s + c1 s^3 + c2 s^5, each the nearest to 1 (largest error over the interval) where those before it left
the singular values, which start in [LOWER, 1]. Composed greedily so, they are the best of all compositions (Amsel, Persson,
Musco & Gower 2025, arXiv:2505.16932). By Remez' exchange: the error is +-e in turn at l, q, r, u, with q and r where the slope is 0.
"""
import math, sys


def solve(rows):
    """Gauss' elimination of an augmented matrix."""
    n = len(rows)
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i])]
    return [row[n] for row in rows]


def nearest_to_one(l, u):
    q, r = (3 * l + u) / 4, (l + 3 * u) / 4
    for _ in range(300):
        a, b, c, e = solve([[x, x**3, x**5, sign, 1] for x, sign in ((l, 1), (q, -1), (r, 1), (u, -1))])
        root = math.sqrt(9 * b * b - 20 * a * c)
        q, r = math.sqrt((-3 * b - root) / (10 * c)), math.sqrt((-3 * b + root) / (10 * c))
    return (a, b, c), abs(e)


def main():
    steps, l, u = int(sys.argv[1]), float(sys.argv[2]), 1.0
    for _ in range(steps):
        c, e = nearest_to_one(l, u)
        l, u = 1 - e, 1 + e
        print("    { %.6f, %.6f, %.6f }," % c)
    print("error %.4f" % e)


main()
