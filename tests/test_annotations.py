"""Annotations that the type-checking hook passes over, and checks in its place."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError
from torch import Tensor

import cisp
from cisp.crowd import Crowd, Links
from cisp.inputs import finite
from cisp.network import Network
from cisp.plans import _Job
from cisp.silence import _Joinings
from cisp.tally import Tally

PACKAGE = Path(cisp.__file__).parent
SHAPED = {"Bool", "Complex", "Float", "Int", "Num", "Shaped"}

circuits = cisp.gated(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4), inputs=torch.ones(3, 7, 4))
network = cisp.superpose(cisp.conditional_rotations(T=6), D=48, S=3, L=3)
table = cisp.prime_steps(T=6, n=12, S=3)


def saved(value: cisp.SmallCircuits | Network, path: Path) -> object:
    value.save(path)
    return type(value).load(path)


# A method cannot name its own class before there is one. What each of them gives, of which class:
UNCHECKED = {
    "circuits.SmallCircuits.__getitem__": (lambda path: circuits[1:], cisp.SmallCircuits),
    "circuits.SmallCircuits.to": (lambda path: circuits.to(torch.float64), cisp.SmallCircuits),
    "circuits.SmallCircuits.with_layers": (
        lambda path: circuits.with_layers(1),
        cisp.SmallCircuits,
    ),
    "circuits.SmallCircuits.load": (
        lambda path: saved(circuits, path),
        cisp.SmallCircuits,
    ),
    "network.Network.trainable": (lambda path: network.trainable(), Network),
    "network.Network.load": (lambda path: saved(network, path), Network),
    "crowd.Crowd.of": (lambda path: Crowd.of(table, n=12), Crowd),
    "crowd.Links.of": (lambda path: Links.of(Crowd.of(table, n=12), torch.Generator()), Links),
    "plans._Job.foretell": (
        lambda path: _Job(circuits, "superpose", "prime_steps", 1, 64, 0).foretell(12, 3).job,
        _Job,
    ),
    "silence._Joinings.of": (lambda path: _Joinings.of(table, 12), _Joinings),
    "tally.Tally.merge": (lambda path: Tally(network, 1).merge(Tally(network, 1)), type(None)),
}


def has(value: object, kind: Any) -> bool:
    return isinstance(value, kind)  # shapes are no classes to mypy


def unresolved() -> set[str]:
    """Functions with an annotation in quotes that is no shape, by module and class."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        owner = {f: c.name for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for f in c.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and any(_quoted(each) for each in _of(node)):
                room = file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
                found.add(".".join(filter(None, [room, owner.get(node), node.name])))
    return found


def _of(node: ast.FunctionDef) -> list[ast.expr]:
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [x for x in [*(a.annotation for a in every if a), node.returns] if x]


def _quoted(annotation: ast.AST) -> bool:
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") in SHAPED:
        return False
    if isinstance(annotation, ast.Subscript) and getattr(annotation.value, "id", "") == "Literal":
        return False
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return True
    return any(_quoted(child) for child in ast.iter_child_nodes(annotation))


def test_the_annotations_that_resolve_to_nothing_are_these() -> None:
    assert unresolved() == set(UNCHECKED)


@pytest.mark.parametrize("name", UNCHECKED)
def test_what_no_hook_checks_is_of_its_class(name: str, tmp_path: Path) -> None:
    call, kind = UNCHECKED[name]
    assert type(call(tmp_path / "saved")) is kind


def test_the_hook_checks_what_resolves() -> None:
    with pytest.raises(TypeCheckError):
        finite(3, torch.ones(2))  # type: ignore[arg-type]  # wrong on purpose


def test_what_the_stream_yields_has_its_shapes() -> None:
    active, a0 = network.sample(batch=5, z=2)
    A0 = network.embed(a0, active).permute(2, 1, 0)
    layers = list(network.stream(A0))
    assert len(layers) == network.L
    for A, read in layers:
        assert has(A, Float[Tensor, "12 4 5"])
        assert has(read, Float[Tensor, "6 4 5"])
        assert A.dtype == read.dtype == network.w.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_circuits_set_has_its_shapes_and_their_dtype(dtype: torch.dtype) -> None:
    found = circuits.to(dtype)
    assert has(found.w, Float[Tensor, "2 3 6 6"])
    assert has(found.b, Float[Tensor, "2 6"])
    assert has(found.input_mean, Float[Tensor, " 6"])
    assert has(found.input_map, Float[Tensor, "6 4"])
    assert has(found.inputs, Float[Tensor, "3 7 6"])
    assert found.L == 2
    shapes = {name: tuple(m.shape) for name, m in found.readouts.items()}
    assert shapes == {"indicator": (1, 6), "state": (4, 6)}
    every = [v for v in vars(found).values() if isinstance(v, Tensor)]
    assert {v.dtype for v in [*every, *found.readouts.values()]} == {dtype}
    wide = torch.float64  # whatever it is given in
    own = cisp.SmallCircuits(
        w=torch.ones(2, 3, 4, 4, dtype=dtype),
        b=torch.ones(4, dtype=wide),
        theta=torch.ones(2, 3, dtype=wide),
        readouts={"x": torch.ones(1, 4, dtype=wide)},
        input_mean=torch.ones(4, dtype=wide),
        input_map=torch.ones(4, 2, dtype=wide),
        inputs=torch.ones(9, 4, dtype=wide),
    )
    every = [v for v in vars(own).values() if isinstance(v, Tensor)]
    assert len(every) == 6
    assert {v.dtype for v in [*every, *own.readouts.values()]} == {dtype}
    assert has(own.theta, Float[Tensor, "2 3"])
    assert has(network.tables, Int[Tensor, "3 6 3"])
