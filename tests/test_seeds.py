"""A seed that is not given is 0, and no two seeds draw the same."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import cisp
from cisp import plans
from cisp.testbed import Testbed

CIRCUITS = cisp.conditional_rotations(T=20, rng=0)
NETWORK = cisp.superpose(CIRCUITS, D=120, S=3, L=2, rng=2)
BED = Testbed(NETWORK, z=2, layer=1)
WIDE = cisp.conditional_rotations(T=20, rng=0, bias=2.0)

DRAWN: dict[str, Callable[..., Tensor | None]] = {
    "rotations": lambda **rng: cisp.conditional_rotations(T=20, **rng).theta,
    "network": lambda **rng: cisp.superpose(CIRCUITS, D=120, S=3, L=2, **rng).tables,
    "extrinsic": lambda **rng: cisp.superpose_extrinsic(WIDE, D=120, S=3, L=2, **rng).tables,
    "sample of a network": lambda **rng: NETWORK.sample(batch=5, z=2, **rng)[1],
    "sample of a bed": lambda **rng: BED.sample(batch=5, **rng).activations,
    "stream": lambda **rng: next(BED.stream(batch=5, **rng)).activations,
    "data": lambda **rng: next(iter(BED.dataset(batch=5, **rng))).activations,
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_that_is_not_given_is_0(name: str) -> None:
    unasked, zero, one = DRAWN[name](), DRAWN[name](rng=0), DRAWN[name](rng=1)
    assert unasked is not None
    assert zero is not None
    assert one is not None
    assert torch.equal(unasked, zero)
    assert not torch.equal(unasked, one)


def test_plans_of_different_seeds_draw_different_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):
        """A plan has come to its draws."""

    def spy(*job: Any) -> None:
        raise Asked(job[-1])

    monkeypatch.setattr(plans, "_Job", spy)
    plan, seeds = partial(cisp.plan, CIRCUITS, D=120, z=2), set[int]()
    for rng in range(40):
        with pytest.raises(Asked) as asked:
            plan(rng=rng)
        seeds |= {*asked.value.args}
    assert len(seeds) == 40
