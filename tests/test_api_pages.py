"""The pages of the package: every public name is on one, each with an example that uses it."""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import pytest

import cisp

pytest.importorskip("sphinx")

BOOK = Path(__file__).parent.parent / "book"
PAGES = sorted(BOOK.glob("api_*.md"))


@pytest.fixture
def api_names(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BOOK / "_ext")
    return import_module("api_names")


def example(name: str) -> str:
    """The lines of code in a docstring."""
    return "\n".join(
        re.findall(r"^ *(?:>>>|\.\.\.) (.*)", resolve_name(name).__doc__, re.MULTILINE)
    )


def without_example(name: str, members: list[str]) -> list[str]:
    """What no example uses: a function's own, a class's or one of its members'."""
    if isinstance(resolve_name(name), type):
        own = [example(each) for each in (name, *(f"{name}.{member}" for member in members))]
        used = [member for member in members if re.search(rf"\.{member}\b", "\n".join(own))]
        alone = [member for member, code in zip(members, own[1:], strict=True) if code]
        lost = [f"{name}.{member}" for member in members if member not in [*used, *alone]]
        return lost if own[0] else [name, *lost]
    short = name.rpartition(".")[2]
    return [] if re.search(rf"\b{short}\b", example(name)) else [name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_has_an_example_that_uses_it(page: Path, api_names: ModuleType) -> None:
    found = api_names.documented(page)
    assert found
    assert [one for name, members in found.items() for one in without_example(name, members)] == []


def test_a_name_without_an_example_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    function, method = "cisp.allocation.load", "cisp.circuits.SmallCircuits.at"
    assert (
        without_example(function, []) == without_example(method.removesuffix(".at"), ["at"]) == []
    )
    monkeypatch.setattr(cisp.load, "__doc__", "The load.\n\n>>> 1 + 1\n2")
    monkeypatch.setattr(cisp.SmallCircuits.at, "__doc__", "The weights.")
    assert without_example(function, []) == [function]
    assert without_example(method.removesuffix(".at"), ["at"]) == [method]
    monkeypatch.setattr(cisp.SmallCircuits, "__doc__", "The circuits.")
    assert without_example("cisp.circuits.SmallCircuits", []) == ["cisp.circuits.SmallCircuits"]


def test_every_public_name_is_on_one_page(api_names: ModuleType) -> None:
    every = [name for page in PAGES for name in api_names.documented(page)]
    assert len(set(every)) == len(every)
    found = [resolve_name(name) for name in every]
    for room in (cisp, cisp.theory, cisp.testbed):
        public = [name for name in room.__all__ if not isinstance(getattr(room, name), ModuleType)]
        assert [name for name in public if getattr(room, name) not in found] == []


def test_the_first_page_lists_the_names_of_all_others() -> None:
    listed = re.findall(
        r"^```\{api-names\} (\w+)$", (BOOK / "api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    contents = (BOOK.parent / "_toc.yml").read_text(encoding="utf-8")
    assert listed == re.findall(r"file: book/(api_\w+)", contents)
    assert sorted(listed) == [page.stem for page in PAGES]


def test_a_name_stands_by_the_shortest_place_to_import_it_from(api_names: ModuleType) -> None:
    assert api_names._place("cisp.construct.superpose") == "cisp.superpose"
    assert api_names._place("cisp.theory.post.mse_self") == "cisp.theory.mse_self"
    assert api_names._place("cisp.inputs.draw") == "cisp.inputs.draw"


def test_docstrings_are_shown_as_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BOOK / "_ext")
    lines = ["See `load`.", "", "c: (n,) as", "   drawn."]
    import_module("plain_docstrings").as_text(None, "function", "f", None, None, lines)
    assert lines[3:] == ["   See load.", "   ", "   c: (n,) as drawn.", ""]
