"""Tables without triangles, against brute force and the largest sets known."""

from itertools import combinations
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cisp
from cisp import triangle_free, triangle_free_capacity
from cisp.triangles import slopes_without_progressions

# the largest sets of 1..N without three terms in progression, N = 1, 2, ... (OEIS A003002)
RECORDS = [1, 2, 2, 3, 4, 4, 4, 4, 5, 5, 6, 6, 7, 8, 8, 8, 8, 8, 8, 9, 9, 9, 9, 10, 10]


def triangles(table: np.ndarray) -> int:
    """Triples of circuits that meet pairwise in three different positions, counted one by one."""
    rows = [set(row) for row in table.tolist()]
    found = 0
    for t, u in combinations(range(len(rows)), 2):
        for p in rows[t] & rows[u]:
            for v in range(u + 1, len(rows)):
                ends = rows[t] & rows[v], rows[u] & rows[v]
                found += all(ends) and p not in rows[v]
    return found


@given(n=st.integers(3, 60), S=st.integers(1, 6), share=st.floats(0, 1))
def test_circuits_share_at_most_one_position_and_form_no_triangle(
    n: int, S: int, share: float
) -> None:
    capacity = triangle_free_capacity(n=n, S=S)
    if not capacity:
        assert n < S
        return
    T = 1 + int(share * (min(capacity, 120) - 1))
    table = triangle_free(T=T, n=n, S=S)
    cisp.check_table(table, n=n, max_overlap=1)
    assert table.shape == (T, S)
    if S > 2:
        assert triangles(table) == 0
    c = cisp.load(table, n=n)
    assert c[c > 0].max() - c[c > 0].min() <= 1
    with pytest.raises(ValueError, match=f"^T={capacity + 1} exceeds the {capacity} circuits"):
        triangle_free(T=capacity + 1, n=n, S=S)


def test_the_count_of_triangles_sees_one() -> None:
    assert triangles(np.array([[0, 1, 6], [1, 2, 7], [0, 2, 8]])) == 1
    assert triangles(cisp.transversal_design(T=49, n=21, S=3)) > 0


@given(q=st.integers(1, 17), S=st.sampled_from([3, 4, 5]))
def test_slopes_solve_no_progression_and_are_as_many_as_can_be(q: int, S: int) -> None:
    gaps = [(a, b) for a in range(1, S) for b in range(1, S - a)]
    if gcd(q, [1, 1, 1, 2, 6, 24][S]) > 1:
        return

    def serves(K: tuple[int, ...]) -> bool:
        return not any(
            (a * k1 + b * k2 - (a + b) * k3) % q == 0
            for a, b in gaps
            for k1 in K
            for k2 in K
            for k3 in K
            if not k1 == k2 == k3
        )

    K = slopes_without_progressions(q, S)
    assert serves(K)
    larger = combinations(range(q), len(K) + 1)
    assert q > 13 or not any(serves(more) for more in larger)


def test_within_a_range_the_largest_sets_are_the_records() -> None:
    # slopes below q/2 wrap round in no progression: the sets of Z_q restricted to them are those of
    # 1..N with q = 2 N - 1, so that no set of Z_q is smaller than the record for N = (q + 1) / 2
    for q in range(1, 40, 2):
        assert len(slopes_without_progressions(q, 3)) >= RECORDS[(q - 1) // 2]
        assert len(slopes_without_progressions(q, 3)) <= RECORDS[min(q, 25) - 1] + max(q - 25, 0)


@pytest.mark.parametrize(("q", "size"), [(37, 10), (61, 13), (65, 14), (111, 20), (1369, 100)])
def test_beyond_exact_search_slopes_stay_as_many(q: int, size: int) -> None:
    K = np.array(slopes_without_progressions(q, 3))
    assert len(K) >= size
    middle = (K[:, None] + K) * pow(2, -1, q) % q  # k_1 + k_2 = 2 k_3
    off = ~np.eye(len(K), dtype=bool)
    assert not np.isin(middle[off], K).any()


@pytest.mark.parametrize(
    ("n", "S", "T"),
    [
        (166, 3, 605),
        (200, 3, 910),
        (333, 3, 2220),
        (100, 4, 100),
        (10, 4, 2),  # side by side
        (200, 20, 10),
        (5, 1, 5),
        (10, 2, 25),
    ],
)
def test_the_capacity_at_some_sizes(n: int, S: int, T: int) -> None:
    assert T <= triangle_free_capacity(n=n, S=S) <= cisp.johnson_bound(n=n, S=S)
    cisp.check_table(triangle_free(T=T, n=n, S=S), n=n)
    assert S == 1 or triangle_free_capacity(n=S - 1, S=S) == 0


def test_the_capacity_never_falls_and_stays_between_n_and_n_squared() -> None:
    capacity = np.array([triangle_free_capacity(n=n, S=3) for n in range(9, 700)])
    assert (np.diff(capacity) >= 0).all()
    n = np.arange(9, 700)
    assert (capacity * 9 <= n**2).all()  # as of a transversal design
    slope = np.polyfit(np.log(n[90:]), np.log(capacity[90:]), 1)[0]
    assert 1.5 < slope < 1.8


def test_slopes_are_searched_with_symmetry_up_to_128_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def spy(q: int, S: int) -> list[list[int]]:
        asked.append(q)
        return []

    monkeypatch.setattr("cisp.triangles._symmetric", spy)
    for q in (125, 127, 129, 131):
        slopes_without_progressions.__wrapped__(q, 3)
    assert {q for q in asked if q > 100} == {125, 127}  # smaller ones are their factors
