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
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

BLOCK = 16  # positions looked at together
AHEAD = 12  # circuits to come whose weights and positions are asked for
NEXT = 3  # awake positions to come whose circuits are asked for
FLUSH = 64  # circuits whose squares are summed up in the network's dtype


def compiled(function: Callable[..., Any], inline: str = "never") -> Any:
    """The function, compiled at its first call; kept on disk where that can be written."""
    how = partial(
        njit, inline=inline, nogil=True, fastmath={"contract", "nsz"}, error_model="numpy"
    )
    try:
        return how(cache=True)(unwrap(function))
    except RuntimeError:  # no folder to keep it in
        return how()(unwrap(function))


def asked(typing, array, index):
    """Has an element of a contiguous array brought near, to be read soon."""

    def made(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(fetch, [place, *(ir.Constant(number, each) for each in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.int64), made


ask: Any = intrinsic(asked)


def added(typing, array, row, four):
    """Adds four numbers to a row of a contiguous array of rows of four, in one step."""

    def made(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number, kind = signature.args[0].dtype, ir.IntType(32)
        vector = ir.VectorType(context.get_value_type(number), 4)
        first = builder.mul(arguments[1], ir.Constant(arguments[1].type, 4))
        place = builder.bitcast(builder.gep(data, [first]), vector.as_pointer())
        more = ir.Constant(vector, ir.Undefined)
        for k in range(4):
            value = builder.extract_value(arguments[2], k)
            more = builder.insert_element(more, value, ir.Constant(kind, k))
        align = number.bitwidth // 8  # of a number: a row may begin anywhere
        builder.store(builder.fadd(builder.load(place, align=align), more), place, align=align)
        return context.get_dummy_value()

    return types.void(array, types.int64, four), made


add: Any = intrinsic(added)


@compiled
def squared(squares, maps, first, past, met, acc, z, found, four):
    """Of the squared read-outs by rows first to past of maps: their sum, the largest and whose."""
    d = len(four) if len(four) else len(acc)
    squares[:found] = 0
    for o in range(first, past):
        for j in range(found):
            m, x = met[j] if len(maps) > 1 else 0, acc.dtype.type(0)
            for i in range(d):
                x += maps[m, o, i] * acc[i, j]
            squares[j] += x * x
    total, top, who = 0.0, acc.dtype.type(0), np.uint32(0)
    for j in range(z, found):
        total += squares[j]
        if squares[j] > top:
            top, who = squares[j], met[j]
    return total, top, who


@partial(compiled, inline="always")
def send(U, touched, places, M, v, sent, four):
    """M v is added to the places of U, which are marked as touched."""
    if len(four):
        a, b, c, d = v[0], v[1], v[2], v[3]
        w = M[0, 0] * a + M[0, 1] * b + M[0, 2] * c + M[0, 3] * d
        x = M[1, 0] * a + M[1, 1] * b + M[1, 2] * c + M[1, 3] * d
        y = M[2, 0] * a + M[2, 1] * b + M[2, 2] * c + M[2, 3] * d
        z = M[3, 0] * a + M[3, 1] * b + M[3, 2] * c + M[3, 3] * d
        for p in places:
            touched[p // np.uint32(BLOCK)] = 1
            add(U, p, (w, x, y, z))
        return
    for i in range(len(v)):
        sent[i] = 0
        for j in range(len(v)):
            sent[i] += M[i, j] * v[j]
    for p in places:
        touched[p // np.uint32(BLOCK)] = 1
        for i in range(len(v)):
            U[p, i] += sent[i]


@compiled
def by_input(
    X,
    active,
    places,
    of,
    tables,
    starts,
    circuits,
    ways,
    to,
    M,
    N,
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
    slot,
    touched,
    mine,
    four,
):
    """Each input by itself, by way of the positions that are awake. Returns the circuits met.

    U, BLOCK rows for each of touched, touched and acc are 0, and left so. met (T,) is for the
    circuits met, acc (d, T) for what these read, slot (T,) for the place of each among them. four:
    () or, where d is 4, any four numbers, for loops of a length that is known.
    """
    L, (_, T, S) = len(of), tables.shape
    n, z, Q = starts.shape[1] - 1, active.shape[1], len(ends)
    d = len(four) if len(four) else U.shape[1]
    flat = U.reshape(len(U) * d)
    rest, total = np.zeros(BLOCK * d, U.dtype), np.zeros(d, U.dtype)
    c, sent = np.zeros(d, U.dtype), np.zeros(d, U.dtype)
    awake, squares = np.zeros(n, np.uint32), np.zeros(T, U.dtype)
    zero, every, stamp = U.dtype.type(0), 0, 0
    mine[:] = 0
    for b in range(len(X)):
        for k in range(z):
            met[k] = active[b, k]
            for s in range(S):
                q = tables[0, met[k], s]
                touched[q // np.uint32(BLOCK)] = 1
                for i in range(d):
                    U[q, i] += X[b, k, i]
        c[:] = 0
        for layer in range(L):
            stamp += 1
            if masked:
                for k in range(z):
                    for s in range(S):
                        mine[tables[places[layer], met[k], s]] = stamp
            # the positions that are awake, and their activations A
            asleep = True  # where nothing is heard
            for y in range(BLOCK * d):
                rest[y] = -(c[y % d] + bias[layer, y % d])
                asleep &= zero <= rest[y]
            total[:] = 0
            up = 0
            for block in range(len(touched)):
                if asleep and not touched[block]:
                    continue
                touched[block] = 0
                first = BLOCK * block
                above = False
                for y in range(BLOCK * d):
                    above |= not (flat[first * d + y] <= rest[y])  # nan is awake
                if above:
                    for p in range(first, min(first + BLOCK, n)):
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
                for y in range(BLOCK * d):
                    flat[first * d + y] = 0
            last, at, here = layer == L - 1, of[layer], places[layer]
            # what circuits read, and what positions send by themselves
            found = np.uint32(z)  # unsigned, as its indices are
            for k in range(z):
                slot[met[k]] = k
            for j in range(up):
                p = awake[j]
                if j + NEXT < up:
                    ask(circuits, here * T * S + starts[here, awake[j + NEXT]])
                for e in range(starts[here, p], starts[here, p + 1]):
                    if e + AHEAD < starts[here, p + 1]:
                        ask(slot, circuits[here, e + AHEAD])
                    t = circuits[here, e]
                    at_t = slot[t]
                    again = (at_t < found) & (met[at_t] == t)
                    at_t = at_t if again else found
                    met[at_t], slot[t] = t, at_t
                    for i in range(d):
                        acc[i, at_t] += A[j, i]
                    found += np.uint32(not again)
                if not last:
                    own = p if N.shape[1] > 1 else 0
                    hands_on = to[ways[here, p] : ways[here, p + 1]]
                    send(U, touched, hands_on, N[at, own], A[j], sent, four)
            every += int(found)
            # the read-outs, the active circuits' by themselves
            for k in range(z):
                m = met[k] if len(maps) > 1 else 0
                for o in range(maps.shape[1]):
                    for i in range(d):
                        picked[layer, b, k, o] += maps[m, o, i] * acc[i, k]
            o = 0
            for q in range(Q):
                square = squared(squares, maps, o, ends[q], met, acc, z, found, four)
                totals[layer, q, b], tops[layer, q, b], who[layer, q, b] = square
                o = ends[q]
            # what circuits send
            for j in range(0 if last else found):
                if j + AHEAD < found:  # both ends, as a row may be in two lines
                    row = at * T + met[j + AHEAD]
                    ask(M, row * d * d)
                    ask(M, row * d * d + d * d - 1)
                    row = places[layer + 1] * T + met[j + AHEAD]
                    ask(tables, row * S)
                    ask(tables, row * S + S - 1)
                t = met[j]
                send(U, touched, tables[places[layer + 1], t], M[at, t], acc[:, j], sent, four)
            acc[:, :found] = 0
            if not last:
                for i in range(d):
                    x = zero
                    for i2 in range(d):
                        x += G[at, i, i2] * total[i2]
                    c[i] = x
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
    places,
    of,
    tables,
    back,
    behind,
    M,
    N,
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
    L, (_, T, S) = len(of), tables.shape
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
                            kept[tables[places[layer], active[start + x, k], s], x] = 1
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
            near, at = places[layer], of[layer]
            table, links, own = tables[near].reshape(T * S), M[at], N[at]
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
                    times(sent, links, t, heard)
                    for s in range(S):
                        q = tables[places[layer + 1], t, s]
                        for y in range(W):
                            sums[q, y] += out[y]
            if last:
                continue
            for p in range(n):
                if back[near, p] < back[near, p + 1]:
                    summed(flat, behind, back[near, p], back[near, p + 1], rows)
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
