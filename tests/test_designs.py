"""Transversal designs: what they are, how even they are, how many circuits they place."""

import time
from itertools import combinations
from math import gcd, prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import cisp
from cisp import (
    check_table,
    johnson_bound,
    load,
    transversal_design,
    transversal_design_capacity,
)

CAPACITIES = {2: 31125, 3: 10141, 4: 4673, 5: 2777, 6: 1976, 7: 1070, 8: 986, 9: 552, 10: 551}


def largest_order(n: int, S: int) -> int:
    """The largest q with S q <= n that no number in 2..S-1 divides; 0 if there is none."""
    fitting = [q for q in range(S, n // S + 1) if gcd(q, prod(range(1, S))) == 1]
    return max(fitting, default=0)


def together(table: np.ndarray, n: int) -> np.ndarray:
    """How many rows hold both positions, for all pairs."""
    e = np.zeros((len(table), n), dtype=np.int64)
    e[np.arange(len(table))[:, None], table] = 1
    return e.T @ e


@given(n=st.integers(1, 150), S=st.integers(1, 12), share=st.floats(0, 1))
def test_two_circuits_share_at_most_one_position(n: int, S: int, share: float) -> None:
    capacity = transversal_design_capacity(n=n, S=S)
    assume(capacity)
    T = max(1, round(share * capacity))
    table = transversal_design(T=T, n=n, S=S)
    assert table.shape == (T, S)
    assert (np.diff(table, axis=1) > 0).all()
    assert 0 <= table.min() <= table.max() < n
    if S > 1:
        pairs = together(table, n)
        assert pairs[~np.eye(n, dtype=bool)].max(initial=0) <= 1
    else:
        assert len(np.unique(table)) == T


@given(n=st.integers(1, 150), S=st.integers(1, 12))
def test_the_capacity_is_exact_and_within_the_johnson_bound(n: int, S: int) -> None:
    capacity, bound = transversal_design_capacity(n=n, S=S), johnson_bound(n=n, S=S)
    assert n // S <= capacity <= bound
    assert (capacity == 0) == (S > n)
    if capacity:
        table = transversal_design(T=capacity, n=n, S=S)
        assert len(check_table(table, n=n)) == capacity
    with pytest.raises(ValueError) as error:
        transversal_design(T=capacity + 1, n=n, S=S)
    assert str(error.value) == (
        f"T={capacity + 1} exceeds the {capacity} circuits that transversal_design can place at "
        f"n={n}, S={S}; no allocation can place more than {bound} (Johnson bound)"
    )


@given(n=st.integers(9, 150), S=st.integers(2, 8), share=st.floats(0, 1))
def test_up_to_q_squared_loads_differ_by_at_most_one(n: int, S: int, share: float) -> None:
    q, few = largest_order(n, S), 2 * (n // S)
    assume(q and q * q > few)
    table = transversal_design(T=few + max(1, round(share * (q * q - few))), n=n, S=S)
    c = load(table, n=n)[: S * q]
    assert c.max() - c.min() <= 1
    classes = len(table) // q
    assert (load(table[: classes * q], n=n)[: S * q] == classes).all() if classes else True


@given(n=st.integers(1, 300), S=st.integers(1, 12), share=st.floats(0, 1))
def test_side_by_side_circuits_do_not_meet(n: int, S: int, share: float) -> None:
    assume(S <= n)
    T = max(1, round(share * (n // S)))
    assert load(transversal_design(T=T, n=n, S=S), n=n).max() == 1


@given(n=st.integers(4, 300), S=st.integers(2, 12), share=st.floats(0, 1))
def test_twice_as_many_meet_as_little_as_can_be(n: int, S: int, share: float) -> None:
    q = n // S
    T = min(q + max(1, round(share * q)), 2 * q)
    assume(q >= S and transversal_design_capacity(n=n, S=S) >= T)
    c = load(transversal_design(T=T, n=n, S=S), n=n)
    # T S places on n positions: a position that is taken twice is a pair that meets, and with all
    # positions taken no fewer can be
    assert set(c.tolist()) <= {1, 2}
    assert (c == 2).sum() == T * S - n


def test_circuits_side_by_side_do_not_disturb_each_other() -> None:
    circuits = cisp.conditional_rotations(T=35, rng=0, dtype=torch.float64)
    allocate = transversal_design
    network = cisp.superpose(circuits, D=1000, S=7, L=3, rng=1, allocate=allocate)
    errors = cisp.measure(network, z=2, samples=200, progress=False).errors
    assert errors.mse.max() < 1e-20  # rounding; 0.02 where they meet


@pytest.mark.parametrize(("n", "S"), [(49, 6), (250, 6), (27, 3), (79, 7), (175, 5)])
def test_positions_of_two_groups_are_together_in_exactly_one_row(n: int, S: int) -> None:
    q = largest_order(n, S)
    pairs = together(transversal_design(T=q * q, n=n, S=S), n)
    group = np.arange(S * q) // q
    apart = group[:, None] != group
    inside = pairs[: S * q, : S * q]
    assert (inside[apart] == 1).all()
    assert not (inside - np.diag(np.diag(inside)))[~apart].any()
    assert not pairs[S * q :].any()


def test_a_short_last_group_holds_the_circuits_that_avoid_missing_positions() -> None:
    # 41 positions, S = 6: groups of 7, one position short: 49 - 7 rows, and one in each group of 7
    table = transversal_design(T=transversal_design_capacity(n=41, S=6), n=41, S=6)
    across = (np.unique(row // 7).size == 6 for row in table)
    assert (len(table), sum(across)) == (42 + 5 + 1, 42)


@pytest.mark.parametrize("S", CAPACITIES)
def test_the_capacity_at_250_positions(S: int) -> None:
    assert transversal_design_capacity(n=250, S=S) == CAPACITIES[S]
    check_table(transversal_design(T=CAPACITIES[S], n=250, S=S), n=250)


def test_the_worked_count_at_250_positions() -> None:
    assert CAPACITIES[6] == 41**2 + 5 * 48 + 55
    assert transversal_design_capacity(n=45, S=6) == 55
    assert johnson_bound(n=250, S=6) == 2041


def test_all_pairs_are_placed_at_two_positions_a_circuit() -> None:
    for n in range(2, 40):
        assert transversal_design_capacity(n=n, S=2) == n * (n - 1) // 2
        rows = transversal_design(T=n * (n - 1) // 2, n=n, S=2).tolist()
        assert sorted(map(tuple, rows)) == list(combinations(range(n), 2))


def test_the_first_circuits_are_the_same_however_many_follow() -> None:
    everyone = transversal_design(T=1976, n=250, S=6)
    for T in (1, 557, 1681, 1900):
        assert np.array_equal(transversal_design(T=T, n=250, S=6), everyone[:T])


def test_groups_are_whole_as_long_as_they_hold_all_circuits() -> None:
    # n = 250, S = 7: 31^2 = 961 on seven groups of 31; more only with groups of 37, the last short
    assert transversal_design_capacity(n=250, S=7) == 37 * 28 + 6 * 5 + 4
    few, many = (load(transversal_design(T=T, n=250, S=7), n=250) for T in (961, 962))
    assert few[:217].tolist() == 217 * [31]
    assert few[217:].max() == 0 < many[217:].min()


def test_two_million_circuits_are_placed_in_seconds() -> None:
    begun = time.process_time()
    table = transversal_design(T=2_000_000, n=25_000, S=6)
    # measured 0.6 s
    assert time.process_time() - begun < 10
    assert transversal_design_capacity(n=25_000, S=6) > 0.99 * johnson_bound(n=25_000, S=6)
    check_table(table[:: len(table) // 100_000], n=25_000)
    c = load(table, n=25_000)
    assert np.ptp(c[c > 0]) <= 1


@pytest.mark.parametrize("S", [2, 3, 6, 10, 40])
def test_the_johnson_bound_is_about_n_squared_over_s_squared(S: int) -> None:
    # n (n-1)/(S (S-1)) before it is rounded down: S/(S-1) times as much for large n (C13.1)
    for n in (10**4, 10**6):
        assert johnson_bound(n=n, S=S) * S**2 / n**2 == pytest.approx(S / (S - 1), rel=2 * S / n)
