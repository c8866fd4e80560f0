"""The loops of density evolution that take the most time, compiled at their first call.

Each takes probabilities below LEAST, which are rounding, for 0.
"""

from math import erfc, exp, pi, sqrt

import numpy as np

from cisp.kernels import compiled

LEAST = 1e-10
FAR = 6.0  # standard deviations beyond which a Gaussian is taken for 0


@compiled
def excesses(law, y):
    """E(X - y)+ of each law (n x) at each of its y (n y), linear between the points of the grid."""
    (n, points), at = law.shape, np.zeros(law.shape[1])
    found = np.empty(y.shape)
    for i in range(n):
        above = 0.0
        for k in range(points - 1, 0, -1):
            above += law[i, k]
            at[k - 1] = at[k] + above
        above += law[i, 0]
        for j in range(y.shape[1]):
            here = y[i, j]
            if here < 0:
                found[i, j] = at[0] - here * above
            elif here >= points - 1:
                found[i, j] = 0.0
            else:
                k = int(here)
                found[i, j] = at[k] + (here - k) * (at[k + 1] - at[k])
    return found


@compiled
def polynomials(law, x):
    """The sum over h of law (v r c h) times x (r c w) to the power of h: (v r c w)."""
    found = np.empty((len(law), *x.shape), x.dtype)
    for v in range(len(law)):
        for r in range(x.shape[0]):
            for c in range(x.shape[1]):
                for w in range(x.shape[2]):
                    total = 0j
                    for h in range(law.shape[3] - 1, -1, -1):
                        total = total * x[r, c, w] + law[v, r, c, h]
                    found[v, r, c, w] = total
    return found


@compiled
def met(whole, less, most):
    """The product over v of whole (v r c w), with m of the factors `less` instead: (m r c w).

    The mean over which m these are, for m = 0 to `most`.
    """
    V, R, C, W = whole.shape
    M = min(V, most) + 1
    found, ways = np.zeros((M, R, C, W), whole.dtype), np.zeros(M, whole.dtype)
    for r in range(R):
        for c in range(C):
            for w in range(W):
                ways[:] = 0
                ways[0] = 1
                for v in range(V):
                    one, other = whole[v, r, c, w], less[v, r, c, w]
                    for m in range(min(v + 1, M - 1), 0, -1):
                        ways[m] = ways[m] * one + ways[m - 1] * other
                    ways[0] *= one
                chosen = 1.0
                for m in range(M):
                    found[m, r, c, w] = ways[m] / chosen
                    chosen *= (V - m) / (m + 1)
    return found


@compiled
def add_readouts(found, share, taken, free, shared, S):
    """Adds to found (r b g w) the transform of a mean of S values, m of them of another law.

    share (r b): of the read-outs before. taken (r k m): of each kind and m. free, shared (r k b w):
    the transforms of a value of either law.
    """
    R, B, G, W = found.shape
    K, M = taken.shape[1:]
    powers = np.empty(M, found.dtype)
    for r in range(R):
        for b in range(B):
            if share[r, b] < LEAST:
                continue
            for k in range(K):
                for w in range(W):
                    one, other = free[r, k, b, w], shared[r, k, b, w]
                    powers[M - 1] = share[r, b]
                    for _ in range(S - M + 1):
                        powers[M - 1] *= one
                    for m in range(M - 1, 0, -1):
                        powers[m - 1] = powers[m] * one
                    others = 1 + 0j
                    for m in range(M):
                        found[r, b, min(m, G - 1), w] += taken[r, k, m] * powers[m] * others
                        others *= other


@compiled
def neurons(law, tilted, heard, row, u, s, least, more, x):
    """E x_i, E x_i^2, P(on), and E x_i over `tilted`, of x_i = ReLU(2u - 1 + V) - s: (4 n c i).

    V has the mean x (n i) and the variance least + more * heard, (n c) and (y), not below 1e-12.
    law, tilted (r c y), of what is heard; u, s (n y). row: of laws, of each n.
    """
    (N, C), Y, directions = least.shape, law.shape[2], x.shape[1]
    found = np.zeros((4, N, C, directions))
    for n in range(N):
        for c in range(C):
            for y in range(Y):
                p, q = law[row[n], c, y], tilted[row[n], c, y]
                if abs(p) < LEAST:
                    continue
                sd = sqrt(max(least[n, c] + more[n, c] * heard[y], 1e-12))
                for i in range(directions):
                    t = (x[n, i] + 2 * u[n, y] - 1) / sd
                    on, density = 1.0 * (t > 0), 0.0
                    if abs(t) < FAR:
                        on, density = erfc(-t / sqrt(2)) / 2, exp(-t * t / 2) / sqrt(2 * pi)
                    relu = sd * (t * on + density)
                    first = relu - s[n, y]
                    second = sd * (t * relu + sd * on) - 2 * s[n, y] * relu + s[n, y] ** 2
                    found[0, n, c, i] += p * first
                    found[1, n, c, i] += p * second
                    found[2, n, c, i] += p * on
                    found[3, n, c, i] += q * first
    return found
