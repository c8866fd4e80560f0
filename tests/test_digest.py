"""The key of what is kept: it changes with what code does, not with where or how it is written."""

import ast
import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import cisp
from cisp import digest
from cisp.digest import bare

FILES = {
    "root.py": """
from cisp.room import helper as h

def root(x):
    return h(x) + 1
""",
    "room.py": """
LIMIT = 3

def helper(x):
    return _inner(x) + LIMIT

def _inner(x):
    return 2 * x

def stranger(x):
    return -x
""",
    "other.py": """
def _inner(x):
    return 5 * x
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three files in place of cisp."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(digest, "PACKAGE", tmp_path)
    return tmp_path


def key(package: Path) -> str:
    """The digest of `root`, with its code read anew."""
    tree = ast.parse((package / "root.py").read_text(encoding="utf-8"))
    node = next(x for x in tree.body if isinstance(x, ast.FunctionDef))
    found = ("cisp.root", bare(node), digest._mentioned(node))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "_itself", lambda _: found)
        return digest.digest(len)


def changed(package: Path, file: str, old: str, new: str) -> bool:
    """Whether a change of one file changes the key."""
    before = key(package)
    text = (package / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (package / file).write_text(text.replace(old, new), encoding="utf-8")
    return key(package) != before


@pytest.mark.parametrize(
    ("file", "old", "new", "matters"),
    [
        ("room.py", "LIMIT = 3", "LIMIT = 4", True),
        ("room.py", "2 * x", "3 * x", True),
        ("room.py", "+ LIMIT", "- LIMIT", True),
        ("room.py", "-x", "x", False),  # nobody mentions stranger
        ("other.py", "5 * x", "6 * x", False),  # a private name of another file
        ("room.py", "LIMIT = 3", "LIMIT =  3  # why", False),
        ("room.py", "def helper(x):", 'def helper(x: int = 0, /) -> int:\n    """What."""', True),
        ("room.py", "def _inner(x):", 'def _inner(x: int) -> int:\n    """What."""', False),
        ("room.py", "LIMIT = 3", "import os\nfrom typing import Any\n\nLIMIT = 3", False),
        ("room.py", "LIMIT = 3", 'LIMIT = 3\nArray = Float[np.ndarray, "a"]', False),
        (
            "room.py",
            "    return _inner",
            '    Array = Float[np.ndarray, "a"]\n    return _inner',
            False,
        ),
    ],
)
def test_the_digest_changes_with_what_is_reached_and_with_nothing_else(
    package: Path, file: str, old: str, new: str, matters: bool
) -> None:
    assert changed(package, file, old, new) == matters


def moved(package: Path, old: str, new: str) -> None:
    """Let `root` import from elsewhere."""
    root = package / "root.py"
    assert root.read_text(encoding="utf-8").count(old) == 1
    root.write_text(root.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_moving_a_definition_with_its_private_ones_changes_nothing(package: Path) -> None:
    before = key(package)
    (package / "deep").mkdir()
    (package / "room.py").rename(package / "deep" / "elsewhere.py")
    moved(package, "cisp.room", "cisp.deep.elsewhere")
    assert key(package) == before
    assert changed(package, "deep/elsewhere.py", "LIMIT = 3", "LIMIT = 4")  # a subfolder is seen


def test_a_definition_that_moves_away_alone_changes_nothing(package: Path) -> None:
    before = key(package)
    text = (package / "room.py").read_text(encoding="utf-8")
    moved_text = text.replace("LIMIT = 3", "from .other import LIMIT")
    (package / "room.py").write_text(moved_text, encoding="utf-8")
    (package / "other.py").write_text(FILES["other.py"] + "\nLIMIT = 3\n", encoding="utf-8")
    assert key(package) == before
    assert changed(package, "other.py", "LIMIT = 3", "LIMIT = 4")


@pytest.mark.parametrize(
    ("how", "call"),
    [
        ("from cisp import room", "room.helper"),
        ("import cisp", "cisp.room.helper"),
        ("import cisp.room", "cisp.room.helper"),
        ("import cisp.room as r", "r.helper"),
        ("from . import room", "room.helper"),
        ("from .room import helper", "helper"),
        ("from cisp.room import *", "helper"),
        ("from cisp.front import helper", "helper"),
        ("from cisp.front import inside", "inside.helper"),
    ],
)
def test_a_name_means_what_the_module_imports(package: Path, how: str, call: str) -> None:
    (package / "front.py").write_text(
        "from cisp.room import helper\nfrom cisp import room as inside\n", encoding="utf-8"
    )
    moved(package, "from cisp.room import helper as h", how)
    moved(package, "h(x)", f"{call}(x)")
    assert changed(package, "room.py", "2 * x", "3 * x")


@pytest.mark.parametrize("how", ["from ..room import helper", "from .near import helper"])
def test_a_relative_import_starts_from_the_folder_of_its_module(package: Path, how: str) -> None:
    (package / "deep").mkdir()
    (package / "deep" / "front.py").write_text(f"{how}\n", encoding="utf-8")
    (package / "deep" / "near.py").write_text(FILES["room.py"], encoding="utf-8")
    moved(package, "cisp.room import", "cisp.deep.front import")
    meant = "room.py" if ".." in how else "deep/near.py"
    assert changed(package, meant, "2 * x", "3 * x")


def test_a_new_definition_of_the_same_name_elsewhere_changes_nothing(package: Path) -> None:
    before = key(package)
    new = "def helper(x):\n    return 0\n\nLIMIT, shape = 5, 6\n"
    (package / "new.py").write_text(new, encoding="utf-8")
    assert key(package) == before


def test_an_attribute_of_a_value_is_no_definition(package: Path) -> None:
    moved(package, "h(x) + 1", "h(x).stranger + x.stranger")
    assert not changed(package, "room.py", "-x", "x")


REACHED = {
    "by its name": "from cisp import conditional_rotations as cr\nmake = cr",
    "under another name": "from cisp import conditional_rotations as cr\ndef make(): return cr()",
    "as an attribute": "import cisp as c\ndef make(): return c.conditional_rotations()",
    "in a list": "import cisp\nALL = [cisp.conditional_rotations]\ndef make(): return ALL[0]",
    "in a lambda": "import cisp\nmake = lambda: cisp.conditional_rotations()",
    "in a cached function": (
        "import cisp, functools\n@functools.cache\ndef make(): return cisp.conditional_rotations()"
    ),
    "in a class": "import cisp\nclass make:\n    def f(self): return cisp.conditional_rotations()",
    "in a method": (
        "import cisp\nclass C:\n    def f(self): return cisp.conditional_rotations()\nmake = C().f"
    ),
    "in an object that is called": (
        "import cisp\nclass C:\n"
        "    def __call__(self): return cisp.conditional_rotations()\nmake = C()"
    ),
}


@pytest.mark.parametrize("text", REACHED.values(), ids=REACHED)
def test_what_a_function_reaches_in_the_package_is_seen_however_it_is_reached(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_own.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    make = importlib.import_module("users_own").make
    keys = []
    for name, old, new in (
        ("a", "", ""),
        ("b", "1.5, 0.5", "1.5, 0.4"),
        ("c", '"""T circ', '"""t'),
    ):
        copy = tmp_path / name
        shutil.copytree(Path(cisp.__file__).parent, copy)
        rotations = copy / "rotations.py"
        changed = rotations.read_text(encoding="utf-8").replace(old, new)
        rotations.write_text(changed, encoding="utf-8")
        monkeypatch.setattr(digest, "PACKAGE", copy)
        keys.append(digest.digest(make))
    assert keys[0] == keys[2] != keys[1]


def test_closures_over_different_numbers_are_told_apart() -> None:
    def factory(k: int) -> Callable[[], int]:
        return lambda: k

    assert digest.digest(factory(2)) != digest.digest(factory(3))
    assert digest.digest(factory(2)) == digest.digest(factory(2))


def test_functions_of_the_users_own_are_told_apart() -> None:
    def run(network: cisp.Network) -> int:
        return 1

    first = digest.digest(run)

    def run(network: cisp.Network) -> int:  # type: ignore[no-redef]
        return 2

    assert digest.digest(run) != first
    assert digest.digest(partial(run)) == digest.digest(run)
    assert digest.digest(run, cisp.prime_steps) != digest.digest(run, cisp.random_subsets)
    assert digest.digest(run, len) != digest.digest(run)


def test_a_sweep_reaches_network_and_measurement_but_no_theory_and_no_plot() -> None:
    original, reached = digest._meant, set()

    def spy(*where: Any) -> Iterator[digest.Definition]:
        for definition in original(*where):
            reached.add(definition[0].split(".")[1])
            yield definition

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "_meant", spy)
        digest.digest(cisp.sweep)
    assert {"network", "wiring", "tally", "experiment", "circuits", "allocation"} <= reached
    assert not {"theory", "plots", "post", "derived", "crowd", "budget"} & reached


def test_a_newer_python_with_more_fields_in_its_trees_keeps_the_text() -> None:
    text = "def f(x):\n    return x"
    newer = ast.parse(text)
    newer.body[0]._fields += ("type_params",)  # type: ignore[misc]  # as in Python 3.12
    newer.body[0].type_params = []  # type: ignore[attr-defined]
    assert bare(newer) == bare(ast.parse(text))
