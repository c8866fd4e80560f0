"""Several families of circuits as one."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cisp.arguments import instance
from cisp.circuits import SmallCircuits
from cisp.inputs import Inputs


def concatenate(parts: Sequence[SmallCircuits]) -> SmallCircuits:
    """The circuits of all parts, as one.

    Raises ValueError unless they agree in d, L and read-outs' names and sizes, in biases, and in
    the law of their inputs; samples that differ become each circuit's own.

    >>> from cisp import step_indicators
    >>> len(concatenate([step_indicators(T=2), step_indicators(T=3)]))
    5
    """
    instance("parts", parts, Sequence)
    if not parts:
        raise ValueError(f"parts={parts!r} is empty; it must hold circuits")
    for k, part in enumerate(parts):
        instance(f"parts[{k}]", part, SmallCircuits)
    first = parts[0]
    for k, part in enumerate(parts):
        for name in ("d", "L", "b", "input_mean", "input_map"):
            one, other = getattr(first, name), getattr(part, name)
            same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
            if not same:
                raise ValueError(f"parts[0] and parts[{k}] differ in {name}; they must agree")
        sizes = [{name: m.shape[-2] for name, m in c.readouts.items()} for c in (first, part)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"parts[0] has the read-outs {sizes[0]}, parts[{k}] {sizes[1]}")
    deep = any(part.w.ndim == 4 for part in parts)
    names = first.readouts
    return replace(
        first,
        w=torch.cat([p.w.expand(p.L, *p.w.shape[-3:]) if deep else p.w for p in parts], -3),
        theta=None,
        readouts={name: _joined([p.readouts[name] for p in parts], parts) for name in names},
        inputs=_joined_inputs(parts),
    )


def _joined(values: Sequence[Tensor], parts: Sequence[SmallCircuits]) -> Tensor:
    """One tensor of several parts: shared if it is the same in all, else with a row a circuit."""
    if all(m.ndim == 2 and torch.equal(m, values[0]) for m in values):
        return values[0]
    own = [m.expand(p.T, *m.shape[-2:]) for m, p in zip(values, parts, strict=True)]
    return torch.cat(own)


def _joined_inputs(parts: Sequence[SmallCircuits]) -> Inputs | None:
    inputs = [part.inputs for part in parts]
    if all(each is inputs[0] for each in inputs):
        return inputs[0]
    samples = [each for each in inputs if isinstance(each, Tensor)]
    if len(samples) < len(inputs) or len({each.shape[-2] for each in samples}) > 1:
        raise ValueError("parts draw inputs in different ways; give each as many samples, inputs=")
    return _joined(samples, parts)
