"""The directive `api-names`: what pages of the package hold, one line a name."""

import re
from importlib import import_module
from inspect import isclass
from pathlib import Path
from pkgutil import resolve_name
from types import FunctionType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

AUTOMODULE = re.compile(r"automodule:: ([\w.]+)\n((?: *:.*\n)*)")
ROOMS = ("cisp", "cisp.theory", "cisp.testbed")
MEMBERS = (property, FunctionType, classmethod, staticmethod)


def documented(page: Path) -> dict[str, list[str]]:
    """The functions and classes that a page documents by their full names; classes' members."""
    found = {}
    for module, options in AUTOMODULE.findall(page.read_text(encoding="utf-8")):
        every = vars(import_module(module))
        named = _listed(options, "members") or [
            name
            for name, value in every.items()
            if callable(value) and getattr(value, "__module__", "") == module
        ]
        apart = _listed(options, "exclude-members")
        for name in named:
            if not name.startswith("_") and every[name].__doc__:
                own = vars(every[name]).items() if isclass(every[name]) else ()
                found[f"{module}.{name}"] = [
                    member
                    for member, value in own
                    if isinstance(value, MEMBERS) and not member.startswith("_")
                    if value.__doc__ and member not in apart
                ]
    return found


def _listed(options: str, option: str) -> list[str]:
    values = re.search(rf":{option}:(.*)", options)
    return [name for name in values[1].replace(" ", "").split(",") if name] if values else []


class ApiNames(SphinxDirective):
    """A list of what the page of that name documents, each with its docstring's first line."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the list as MyST text and parse it, so that its links are found."""
        page = Path(self.env.doc2path(self.env.docname)).with_name(f"{self.arguments[0]}.md")
        self.env.note_dependency(str(page))
        lines = [
            f"- {{py:obj}}`{_place(name)} <{name}>`: {_first(name)}" for name in documented(page)
        ]
        found = self.parse_text_to_nodes("\n".join(lines))
        for names in found:
            names["classes"].append("names")
        return found


def _place(name: str) -> str:
    """The shortest place to import a name from."""
    found, short = resolve_name(name), name.rpartition(".")[2]
    places = (room for room in ROOMS if getattr(import_module(room), short, None) is found)
    return f"{next(places, name.rpartition('.')[0])}.{short}"


def _first(name: str) -> str:
    """A docstring's first line, as text and not as markup."""
    line = (resolve_name(name).__doc__ or "").split("\n")[0]
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_<>|$\[\]{}#])", r"\\\1", part)
        for part in re.split(r"(`[^`]*`)", line)
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("api-names", ApiNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
