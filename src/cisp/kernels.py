"""The loops of `awake`, compiled: a network's layers for one input at a time, or for many at once.

Importing this module compiles nothing; the first call does, and leaves the result beside this file.
Shapes are those of `awake.Facts` and `awake.Found`. Positions are unsigned, as signed indices would
be tested for counting from the end.
"""

from collections.abc import Callable
from functools import partial
from inspect import unwrap
from typing import Any

import numpy as np
from numba import njit

BLOCK = 16  # positions looked at together
FLUSH = 64  # circuits whose squares are summed up in the network's dtype


def compiled(function: Callable[..., Any]) -> Any:
    """The function, compiled at its first call; kept on disk where that can be written."""
    how = partial(njit, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy")
    try:
        return how(cache=True)(unwrap(function))
    except RuntimeError:  # no folder to keep it in
        return how()(unwrap(function))


@compiled
def by_input(
    X,
    active,
    tables,
    starts,
    circuits,
    of,
    M,
    to,
    N,
    ways,
    places,
    G,
    bias,
    maps,
    ends,
    ON,
    masked,
    on,
    picked,
    totals,
    tops,
    who,
    U,
    A,
    acc,
    met,
    mine,
):
    """Each input by itself, by way of the positions that are awake. Returns the circuits met."""
    L, _, S = tables.shape
    n, d = U.shape
    K, Q = maps.shape[1], len(ends)
    flat = U.reshape(n * d)
    rest, total = np.zeros(BLOCK * d, U.dtype), np.zeros(d, U.dtype)
    c, v = np.zeros(d, U.dtype), np.zeros(d, U.dtype)
    awake, marked = np.zeros(n, np.uint32), np.zeros(len(acc), np.uint32)
    zero, every, stamp = U.dtype.type(0), 0, 0
    met[:] = 0
    mine[:] = 0
    for b in range(len(X)):
        for k in range(active.shape[1]):
            for s in range(S):
                for i in range(d):
                    U[tables[0, active[b, k], s], i] += X[b, k, i]
        c[:] = 0
        for layer in range(L):
            stamp += 1
            if masked:
                for k in range(active.shape[1]):
                    for s in range(S):
                        mine[tables[layer, active[b, k], s]] = stamp
            # the positions that are awake, and their activations A
            for y in range(BLOCK * d):
                rest[y] = -(c[y % d] + bias[layer, y % d])
            total[:] = 0
            up = 0
            for first in range(0, n, BLOCK):
                past = min(first + BLOCK, n)
                block = flat[first * d : past * d]
                above = np.int32(0)
                for y in range(len(block)):
                    above += np.int32(not (block[y] <= rest[y]))  # nan is awake
                if above == 0:
                    continue
                for p in range(first, past):
                    wakes = False
                    for i in range(d):
                        wakes |= not (U[p, i] <= rest[i])
                    if not wakes or (masked and mine[p] != stamp):
                        continue
                    for i in range(d):
                        x = U[p, i] - rest[i]
                        x = zero if x <= zero else x
                        A[up, i] = x
                        total[i] += x
                        on[layer, i] += x > ON
                    awake[up] = p
                    up += 1
            U[:] = 0
            # what circuits read, and what positions send
            last = layer == L - 1
            here = of[layer]
            found = 0
            for j in range(up):
                p = awake[j]
                for e in range(starts[here, p], starts[here, p + 1]):
                    t = circuits[here, e]
                    if met[t] != stamp:
                        met[t] = stamp
                        marked[found] = t
                        found += 1
                        for i in range(d):
                            acc[t, i] = A[j, i]
                    else:
                        for i in range(d):
                            acc[t, i] += A[j, i]
                if last:
                    continue
                for e in range(starts[here, p], starts[here, p + 1]):
                    for i in range(d):
                        x = zero
                        for i2 in range(d):
                            x += M[here, e, i, i2] * A[j, i2]
                        v[i] = x
                    for s in range(S):
                        q = to[here, e, s]
                        for i in range(d):
                            U[q, i] += v[i]
                if ways[here, p] < ways[here, p + 1]:
                    own = p if N.shape[1] > 1 else 0
                    for i in range(d):
                        x = zero
                        for i2 in range(d):
                            x += N[here, own, i, i2] * A[j, i2]
                        v[i] = x
                    for e in range(ways[here, p], ways[here, p + 1]):
                        q = places[e]
                        for i in range(d):
                            U[q, i] += v[i]
            every += found
            if not last:
                for i in range(d):
                    x = zero
                    for i2 in range(d):
                        x += G[here, i, i2] * total[i2]
                    c[i] = x
            # the read-outs
            for k in range(active.shape[1]):
                t = active[b, k]
                if met[t] != stamp:
                    continue
                met[t] = 0
                m = t if len(maps) > 1 else 0
                for o in range(K):
                    x = zero
                    for i in range(d):
                        x += maps[m, o, i] * acc[t, i]
                    picked[layer, b, k, o] = x
            for j in range(found):
                t = marked[j]
                if met[t] != stamp:
                    continue
                m = t if len(maps) > 1 else 0
                o = 0
                for q in range(Q):
                    square = zero
                    while o < ends[q]:
                        x = zero
                        for i in range(d):
                            x += maps[m, o, i] * acc[t, i]
                        square += x * x
                        o += 1
                    totals[layer, q, b] += square
                    if square > tops[layer, q, b]:
                        tops[layer, q, b] = square
                        who[layer, q, b] = t
    return every


@compiled
def summed(out, places, first, past, of):
    """out = the sum of some rows of `of`, two at a time."""
    p = places[first]
    for y in range(len(out)):
        out[y] = of[p, y]
    for e in range(first + 1, past - 1, 2):
        p, q = places[e], places[e + 1]
        for y in range(len(out)):
            out[y] += of[p, y] + of[q, y]
    if (past - first) % 2 == 0:
        p = places[past - 1]
        for y in range(len(out)):
            out[y] += of[p, y]


@compiled
def times(out, M, k, v):
    """out = M[k] v of each input, (rows, d) and (d, lanes), the first four terms at once."""
    d, lanes = v.shape
    for i in range(len(out)):
        done = 4 if d >= 4 else 1
        f = M[k, i, 0]
        if done == 1:
            for x in range(lanes):
                out[i, x] = f * v[0, x]
        else:
            e, g, h = M[k, i, 1], M[k, i, 2], M[k, i, 3]
            for x in range(lanes):
                out[i, x] = f * v[0, x] + e * v[1, x] + g * v[2, x] + h * v[3, x]
        for j in range(done, d):
            f = M[k, i, j]
            for x in range(lanes):
                out[i, x] += f * v[j, x]


@compiled
def together(
    X,
    active,
    tables,
    of,
    M,
    first,
    N,
    back,
    behind,
    G,
    bias,
    maps,
    ends,
    ON,
    masked,
    on,
    picked,
    totals,
    tops,
    who,
    U,
    A,
):
    """All positions and circuits, for as many inputs at once as U has lanes."""
    L, T, S = tables.shape
    n, d, lanes = U.shape
    W, K, Q = d * lanes, maps.shape[1], len(ends)
    rows, sums = A.reshape(n, W), U.reshape(n, W)
    read, squares = np.zeros((K, lanes), U.dtype), np.zeros((Q, lanes), U.dtype)
    most, whose = np.zeros((Q, lanes), U.dtype), np.zeros((Q, lanes), np.int32)
    heard, sent = np.zeros((d, lanes), U.dtype), np.zeros((d, lanes), U.dtype)
    total, c = np.zeros((d, lanes), U.dtype), np.zeros((d, lanes), U.dtype)
    flat, out = heard.reshape(W), sent.reshape(W)
    z = active.shape[1]
    runs, also = np.zeros(T, np.int32), np.zeros(lanes * z, np.int32)
    kept = np.ones((n, lanes), U.dtype)
    zero = U.dtype.type(0)
    for start in range(0, len(X), lanes):
        here = min(lanes, len(X) - start)
        runs[:] = -1
        for e in range(here * z):  # a list for each circuit of where it is active
            t = active[start + e // z, e % z]
            also[e], runs[t] = runs[t], e
        U[:] = 0
        for x in range(here):
            for k in range(z):
                for s in range(S):
                    for i in range(d):
                        U[tables[0, active[start + x, k], s], i, x] += X[start + x, k, i]
        c[:] = 0
        for layer in range(L):
            total[:] = 0
            if masked:
                kept[:] = 0
                for x in range(here):
                    for k in range(z):
                        for s in range(S):
                            kept[tables[layer, active[start + x, k], s], x] = 1
            for p in range(n):
                for i in range(d):
                    b, up = bias[layer, i], np.int32(0)
                    for x in range(here):
                        v = U[p, i, x] + (c[i, x] + b)
                        v = (zero if v <= zero else v) * kept[p, x]
                        A[p, i, x] = v
                        total[i, x] += v
                        up += np.int32(v > ON)
                    on[layer, i] += up
            last = layer == L - 1
            at = of[0 if last else layer]
            table, links, entry, own = tables[layer].reshape(T * S), M[at], first[at], N[at]
            U[:] = 0
            squares[:] = 0
            for t in range(T):
                summed(flat, table, S * t, S * t + S, rows)
                times(read, maps, t if len(maps) > 1 else 0, heard)
                e = runs[t]
                while e >= 0:
                    for o in range(K):
                        picked[layer, start + e // z, e % z, o] = read[o, e // z]
                        read[o, e // z] = 0
                    e = also[e]
                o = 0
                for q in range(Q):
                    for x in range(lanes):
                        sent[0, x] = read[o, x] * read[o, x]
                    o += 1
                    while o < ends[q]:
                        for x in range(lanes):
                            sent[0, x] += read[o, x] * read[o, x]
                        o += 1
                    for x in range(lanes):
                        square = sent[0, x]
                        squares[q, x] += square
                        more = square > most[q, x]
                        most[q, x] = square if more else most[q, x]
                        whose[q, x] = t if more else whose[q, x]
                if t % FLUSH == FLUSH - 1 or t == T - 1:
                    for q in range(Q):
                        for x in range(here):
                            totals[layer, q, start + x] += squares[q, x]
                    squares[:] = 0
                if t == T - 1:
                    tops[layer, :, start : start + here] = most[:, :here]
                    who[layer, :, start : start + here] = whose[:, :here]
                    most[:] = 0
                    whose[:] = 0
                if not last:
                    times(sent, links, entry[t], heard)
                    for s in range(S):
                        q = tables[layer + 1, t, s]
                        for y in range(W):
                            sums[q, y] += out[y]
            if last:
                continue
            for p in range(n):
                if back[at, p] < back[at, p + 1]:
                    summed(flat, behind, back[at, p], back[at, p + 1], rows)
                    times(sent, own, p if len(own) > 1 else 0, heard)
                    for y in range(W):
                        sums[p, y] += out[y]
            times(c, G, at, total)


@compiled
def loud(table, heard, limit, over):
    """Marks in over (T, lot) where the sum of a row's heard (n, terms, lot) is above the limit:
    the first term and the norm of the others.
    """
    T, S = table.shape
    n, terms, lot = heard.shape
    rows, places = heard.reshape(n, terms * lot), table.reshape(T * S)
    y, squares = np.zeros(terms * lot, heard.dtype), np.zeros(lot, heard.dtype)
    for t in range(T):
        summed(y, places, S * t, S * t + S, rows)
        squares[:] = 0
        for k in range(lot, terms * lot, lot):
            for x in range(lot):
                squares[x] += y[k + x] * y[k + x]
        for x in range(lot):
            rest = limit - y[x]
            over[t, x] |= (rest < 0) | (squares[x] > rest * rest)
