"""Keys of what results depend on: equal things have one, and whatever could matter changes it."""

import ast
import functools
import importlib
import os
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import cisp
from cisp.keys import key


def network(seed: int) -> cisp.Network:
    return cisp.superpose(cisp.conditional_rotations(T=9), D=60, S=3, L=2, rng=seed)


def linear(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = torch.nn.Linear(2, 2)
    made.register_forward_hook(print)
    return made


class Drawn:
    """The user's own kind of function."""

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def __call__(self, x: float) -> float:
        return x + self.offset

    def twice(self, x: float) -> float:
        return 2 * self(x)


def closure(offset: object) -> Callable[[], object]:
    return lambda: offset


def cached(offset: int) -> Callable[[], int]:
    @functools.cache
    def inner() -> int:
        return offset

    return inner


def circle(offset: int) -> list[object]:
    found: list[object] = [offset]
    found.append(found)
    return found


EQUAL: dict[str, Callable[[int], Any]] = {
    "tensor": lambda k: torch.arange(4.0) + k,
    "part of a tensor": lambda k: torch.arange(9.0)[4 + k : 6 + k],
    "parameter": lambda k: torch.nn.Parameter(torch.ones(2) * k),
    "conjugate": lambda k: torch.tensor([1j + k]).conj(),
    "array": lambda k: np.arange(4.0) + k,
    "every second": lambda k: np.arange(8.0)[k::2],
    "objects": lambda k: np.array([{"of": [k]}, "a"], dtype=object),
    "number": lambda k: (np.int64(k), 1.5, None, True, "a", b"b", 2j),
    "queue": lambda k: deque([k, 2]),
    "ordered": lambda k: OrderedDict(a=k),
    "mapping": lambda k: {"a": k, "b": {1, 2, k + 3}},
    "table": lambda k: pd.DataFrame({"a": [1, k], "b": ["x", "y"]}),
    "generator": lambda k: np.random.default_rng(k),
    "path": lambda k: Path("a") / str(k),
    "dtype": lambda k: [torch.float32, torch.float64][k],
    "partial": lambda k: partial(torch.add, torch.ones(2), alpha=k),
    "circuits": lambda k: cisp.conditional_rotations(T=5 + k),
    "network": network,
    "module": linear,
    "object": Drawn,
    "method": lambda k: Drawn(k).twice,
    "method of a library": lambda k: np.random.default_rng(k).normal,
    "closure": closure,
    "cached": cached,
    "circle": circle,
    "lambda": lambda k: [lambda x: x, lambda x: x + 1][k],
    "function of a library": lambda k: [torch.relu, torch.tanh][k],
    "universal function": lambda k: [np.add, np.multiply][k],
    "of this package": lambda k: [cisp.superpose, cisp.superpose_extrinsic][k],
    "module itself": lambda k: [np, torch][k],
}


@pytest.mark.parametrize("make", EQUAL.values(), ids=EQUAL)
def test_equal_things_have_one_key_and_others_another(make: Callable[[int], Any]) -> None:
    first, again, other = (key(thing=make(k)) for k in (0, 0, 1))
    assert first == again
    assert first != other


def test_values_of_other_kinds_or_places_are_told_apart() -> None:
    zeros = [torch.zeros(1), torch.zeros(1, dtype=torch.int32), np.zeros(1), np.zeros(1, int)]
    many = [1, 1.0, True, "1", [1], (1,), torch.ones(1), torch.ones(1, 1), None, b"1", *zeros]
    assert len({key(thing=thing) for thing in many}) == len(many)
    assert key(a=1, b=2) != key(a=2, b=1)
    assert key(a=[1, [2]]) != key(a=[[1], 2])


SOURCE = """
import logging
import users_helper
import users_helper as other
from users_helper import scaled

LIMIT = 3
LOG = logging.getLogger("a")

class Kind:
    factor = 2
    def of(self, x): return self.factor * x + LIMIT

def inner(x):
    "What it says."
    return x + LIMIT

def make(x, offset=1):
    LOG.info("called")
    return inner(x) + offset

def by_module(x): return users_helper.scaled(x)
def by_alias(x): return other.scaled(x)
def by_name(x): return scaled(x)
def by_import(x):
    from users_helper import scaled as s
    return s(x)
def by_class(x): return Kind().of(x)
def by_list(x): return [inner, Kind][0](x)
def by_comprehension(x): return [inner(y) for y in x]
def by_whole(x): return getattr(users_helper, "scaled")(x)
def by_set(x): return x in {"a", "bc", "def", "ghij", "k"}
def again(x): return again(x - 1) if x else inner(x)
"""
HELPER = "FACTOR = 2\ndef scaled(x): return x * FACTOR\n"
NAMES = [line.split("(")[0][4:] for line in SOURCE.splitlines() if line.startswith("def ")]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """The key of each function of a module of the user's, read anew."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def keys(source: str = SOURCE, helper: str = HELPER) -> dict[str, str]:
        for name, text in {"users_own": source, "users_helper": helper}.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of which times tell the age
        own = importlib.import_module("users_own")
        return {name: key(f=getattr(own, name)) for name in NAMES}

    return keys


OF_LIMIT = {"inner", "make", "by_class", "by_list", "by_comprehension", "again"}
OF_HELPER = {"by_module", "by_alias", "by_name", "by_import", "by_whole"}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("LIMIT = 3", "LIMIT = 4", OF_LIMIT),
        ("FACTOR = 2", "FACTOR = 3", OF_HELPER),
        ("x * FACTOR", "x + FACTOR", OF_HELPER),
        ("factor = 2", "factor = 3", {"by_class", "by_list"}),
        ("self.factor * x", "self.factor - x", {"by_class", "by_list"}),
        ("offset=1", "offset=2", {"make"}),
        ('"called"', '"begun"', {"make"}),
        ("again(x - 1)", "again(x - 2)", {"again"}),
        ("What it says.", "What it does.", set()),
        ("LIMIT = 3", "# a comment\n\nLIMIT = 3", set()),
        ("def inner(x):", "def inner(x: int) -> int:", set()),
    ],
)
def test_a_function_has_the_key_of_all_that_it_uses(
    keys: Callable[..., dict[str, str]], old: str, new: str, changed: set[str]
) -> None:
    assert SOURCE.count(old) + HELPER.count(old) == 1
    before, after = keys(), keys(SOURCE.replace(old, new), HELPER.replace(old, new))
    assert {name for name in NAMES if before[name] != after[name]} == changed


def test_another_process_finds_the_same_keys(
    keys: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    here = keys()
    code = f"""
import users_own
from cisp.keys import key
print({{name: key(f=getattr(users_own, name)) for name in {NAMES}}})
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert ast.literal_eval(done.stdout) == here


def test_a_changed_value_is_seen_though_no_text_changes(
    keys: Callable[..., dict[str, str]],
) -> None:
    before = keys()
    own = sys.modules["users_own"]
    vars(own)["LIMIT"] = torch.tensor(3)
    assert {name for name in NAMES if key(f=getattr(own, name)) != before[name]} == OF_LIMIT
    vars(own)["LIMIT"] = 3
    assert {name: key(f=getattr(own, name)) for name in NAMES} == before


def test_a_function_without_a_file_has_a_key() -> None:
    def made(text: str) -> FunctionType:
        scope: dict[str, Any] = {}
        exec(text, scope)  # as a notebook's cell
        found = scope["f"]
        assert isinstance(found, FunctionType)
        return found

    one, same, other = (made(f"K = {k}\ndef f(): return K") for k in (1, 1, 2))
    assert key(f=one) == key(f=same) != key(f=other)


@pytest.mark.parametrize("held", [Lock(), sys.stdout, (x for x in "ab")])
def test_what_cannot_be_compared_is_named(held: object) -> None:
    def inner() -> object:
        return held

    def outer() -> object:
        return inner()

    told = f"make holds a {type(held).__name__}, of which no key can tell"
    with pytest.raises(ValueError, match=told):
        key(make=outer)
    with pytest.raises(ValueError, match=told):
        key(make=partial(print, held))
