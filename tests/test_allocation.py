"""Tables of positions: the post's progressions, their capacity, load and overlaps (5.21-5.24)."""

from collections import Counter
from itertools import combinations
from math import gcd, inf, prod
from typing import Any

import jaxtyping
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
    mean_overlap,
    mean_squared_overlap,
    prime_steps,
    prime_steps_capacity,
    random_subsets,
    transversal_design_capacity,
    vectors,
)
from cisp.allocation import _progressions

CAPACITIES = {
    (250, 6): 557,
    (250, 5): 815,
    (250, 4): 1773,
    (250, 3): 3854,
    (250, 8): 224,
    (250, 10): 142,
    (500, 6): 2101,
    (200, 6): 317,
}


def meetings(table: np.ndarray, n: int) -> np.ndarray:
    """<e_t|e_u> for all pairs, from the 0-1 embedding vectors."""
    e = np.zeros((len(table), n), dtype=np.int64)
    e[np.arange(len(table))[:, None], table] = 1
    return e @ e.T


def of_pairs(overlaps: np.ndarray) -> np.ndarray:
    """The entries t != u."""
    return overlaps[~np.eye(len(overlaps), dtype=bool)]


def the_posts_rows(n: int, S: int) -> list[list[int]]:
    """The allocation as section 5.4 words it, for S >= 2."""
    composite = any(S % k == 0 for k in range(2, S))
    steps: list[int] = []
    for step in range(1, n):
        if gcd(step, prod(range(1, S))) == 1:
            while (S - 1) * step < n:
                steps.append(step)
                step = step * S if composite else n
    rows: list[list[int]] = []
    for step in steps:
        for shift in range(step):
            starts = [i for i in range(n) if i % (S * step) == shift and i + (S - 1) * step < n]
            rows += [[i + k * step for k in range(S)] for i in starts]
    return rows


@given(n=st.integers(1, 80), S=st.integers(1, 12), share=st.floats(0, 1))
def test_two_circuits_share_at_most_one_position(n: int, S: int, share: float) -> None:
    capacity = prime_steps_capacity(n=n, S=S)
    assume(capacity)
    T = max(1, round(share * capacity))
    table = prime_steps(T=T, n=n, S=S)
    assert table.shape == (T, S)
    assert (np.diff(table, axis=1) > 0).all()  # S different positions, in order
    assert 0 <= table.min() <= table.max() < n
    assert of_pairs(meetings(table, n)).max(initial=0) <= 1


@given(n=st.integers(1, 80), S=st.integers(2, 12))
def test_the_rows_are_those_of_the_post(n: int, S: int) -> None:
    expected = the_posts_rows(n, S)
    assert prime_steps_capacity(n=n, S=S) == len(expected)
    for T in {1, len(expected) // 2, len(expected)} if expected else ():
        if T:
            assert prime_steps(T=T, n=n, S=S).tolist() == expected[:T]


@given(n=st.integers(1, 60), S=st.integers(1, 70))
def test_the_capacity_is_exact_and_within_the_johnson_bound(n: int, S: int) -> None:
    capacity, bound = prime_steps_capacity(n=n, S=S), johnson_bound(n=n, S=S)
    assert capacity <= bound
    assert (capacity == 0) == (bound == 0) == (S > n)
    if capacity:
        assert len(prime_steps(T=capacity, n=n, S=S)) == capacity
    message = (
        f"T={capacity + 1} exceeds the {capacity} circuits that prime_steps can place at "
        f"n={n}, S={S}; transversal_design can place {transversal_design_capacity(n=n, S=S)}"
    )
    with pytest.raises(ValueError) as error:
        prime_steps(T=capacity + 1, n=n, S=S)
    assert str(error.value) == message


@pytest.mark.parametrize(("n", "S"), CAPACITIES)
def test_the_capacity_is_the_posts(n: int, S: int) -> None:
    assert prime_steps_capacity(n=n, S=S) == CAPACITIES[n, S]


@pytest.mark.parametrize("n", [1, 2, 50])
def test_one_position_a_circuit_gives_each_its_own(n: int) -> None:
    assert prime_steps_capacity(n=n, S=1) == n
    assert prime_steps(T=n, n=n, S=1).tolist() == [[p] for p in range(n)]


@pytest.mark.parametrize(
    ("n", "S", "lines"), [(4, 2, 6), (7, 3, 7), (8, 3, 8), (9, 3, 12), (13, 4, 13)]
)
def test_the_johnson_bound_is_reached_by_planes_of_lines(n: int, S: int, lines: int) -> None:
    # pairs of 4 points; the Fano plane; the affine plane of order 3 without a point, and whole;
    # the projective plane of order 3
    assert johnson_bound(n=n, S=S) == lines


def test_the_load_of_the_running_example_is_uneven() -> None:
    c = load(prime_steps(T=557, n=250, S=6), n=250)
    assert (c.min(), c.max(), c.sum()) == (5, 17, 557 * 6)


@given(n=st.integers(2, 12), S=st.integers(1, 12), T=st.integers(2, 20), seed=st.integers(0, 99))
def test_load_and_overlaps_equal_their_definitions(n: int, S: int, T: int, seed: int) -> None:
    assume(S <= n)
    table = random_subsets(T=T, n=n, S=S, rng=seed)  # shares many positions
    overlaps = of_pairs(meetings(table, n)) / S
    assert load(table, n=n).tolist() == [int((table == p).sum()) for p in range(n)]
    # both are ratios of integers below 2^53, rounded a few times
    assert mean_overlap(table, n=n) == pytest.approx(overlaps.mean(), rel=1e-12)
    assert mean_squared_overlap(table, n=n) == pytest.approx((overlaps**2).mean(), rel=1e-12)


@given(n=st.integers(1, 12), S=st.integers(1, 12), T=st.integers(1, 20), seed=st.integers(0, 99))
def test_the_vectors_are_1_on_a_circuits_positions_and_0_elsewhere(
    n: int, S: int, T: int, seed: int
) -> None:
    assume(S <= n)
    table = random_subsets(T=T, n=n, S=S, rng=seed)
    e = vectors(table, n=n)
    assert e.dtype == np.float64
    assert e.tolist() == [[float(p in row) for p in range(n)] for row in table.tolist()]
    layers = np.stack([table, table[::-1]])
    assert np.array_equal(vectors(layers, n=n), [e, e[::-1]])
    assert np.array_equal(vectors(torch.from_numpy(layers), n=n), [e, e[::-1]])


@pytest.mark.parametrize(("T", "n", "S"), [(557, 250, 6), (60, 50, 3), (40, 40, 1)])
def test_overlaps_of_the_posts_table_equal_their_definitions(T: int, n: int, S: int) -> None:
    table = prime_steps(T=T, n=n, S=S)
    overlaps = of_pairs(meetings(table, n)) / S
    # rounding, as above
    assert mean_overlap(table, n=n) == pytest.approx(overlaps.mean(), rel=1e-12)
    assert mean_squared_overlap(table, n=n) == pytest.approx((overlaps**2).mean(), rel=1e-12)


@pytest.mark.parametrize(("n", "S"), [(5, 2), (6, 3), (4, 1)])
def test_every_subset_is_equally_likely(n: int, S: int) -> None:
    T = 40_000
    seen = Counter(map(tuple, random_subsets(T=T, n=n, S=S, rng=0).tolist()))
    subsets = list(combinations(range(n), S))
    assert set(seen) <= set(subsets)
    expected = T / len(subsets)
    chi_square = sum((seen[s] - expected) ** 2 / expected for s in subsets)
    # chi-square with k degrees of freedom has mean k and standard deviation sqrt(2 k)
    k = len(subsets) - 1
    assert chi_square < k + 4 * (2 * k) ** 0.5


def test_all_positions_are_the_only_subset_of_full_size_and_the_seed_decides_the_rest() -> None:
    assert random_subsets(T=3, n=4, S=4).tolist() == 3 * [[0, 1, 2, 3]]
    first, again, other = (random_subsets(T=20, n=30, S=4, rng=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


@given(
    n=st.integers(3, 12), S=st.integers(1, 6), T=st.integers(1, 12), most=st.integers(0, 6),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_table_passes_exactly_if_no_pair_shares_more_than_allowed(
    n: int, S: int, T: int, most: int, seed: int
) -> None:
    assume(S <= n)
    table = random_subsets(T=T, n=n, S=S, rng=seed)
    overlaps = meetings(table, n)
    assert np.array_equal(check_table(table, n=n, max_overlap=inf), table)
    if of_pairs(overlaps).max(initial=0) <= most:
        assert np.array_equal(check_table(table, n=n, max_overlap=most), table)
        return
    with pytest.raises(ValueError, match=r"^table rows \d+ and \d+ share \d+ positions") as error:
        check_table(table, n=n, max_overlap=most)
    t, u, shared = [int(word) for word in str(error.value).split() if word.isdigit()]
    assert t < u
    assert most < overlaps[t, u] == shared


@given(n=st.integers(1, 80), S=st.integers(1, 12))
def test_the_capacity_of_prime_steps_counts_their_rows(n: int, S: int) -> None:
    assert cisp.prime_steps_capacity(n=n, S=S) == sum(1 for _ in _progressions(n, S))


def test_the_capacity_of_a_wide_block_is_found_without_making_its_rows() -> None:
    n, steps = 2_500_000, range(1, 2_500_000 // 2 + 1, 2)  # odd steps serve S = 3
    starts = sum((n - 2 * k) // (3 * k) * k + min((n - 2 * k) % (3 * k), k) for k in steps)
    assert cisp.prime_steps_capacity(n=n, S=3) == starts


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint64, list]
)
def test_a_table_of_any_integers_is_that_of_64_bits(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it knows signed ones alone
    plain = cisp.prime_steps(T=30, n=120, S=4)
    table = plain.tolist() if kind is list else plain.astype(kind)
    assert cisp.check_table(table, n=120).dtype == np.int64
    for f in (cisp.load, cisp.mean_overlap, cisp.mean_squared_overlap, cisp.vectors):
        assert np.array_equal(f(table, n=120), f(plain, n=120))
    first, later = cisp.theory.derived_first_layer, cisp.theory.derived_extrinsic_active
    assert first(table, n=120, z=2) == first(plain, n=120, z=2)
    assert later(table, n=120, z=2, layer=3) == later(plain, n=120, z=2, layer=3)
    predicted = [
        cisp.density_evolution(T=30, D=480, S=4, z=1, L=1, table=each).errors.mse.to_numpy()
        for each in (table, plain)
    ]
    assert np.array_equal(*predicted)
