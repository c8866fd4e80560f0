"""Every text file is read and written in UTF-8, whatever the locale of the machine says."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("src", "book", "tests", "tools", "benchmarks")
SOURCES = sorted(
    path
    for folder in FOLDERS
    for kind in ("*.py", "*.ipynb")
    for path in (ROOT / folder).rglob(kind)
    if not any(part.startswith((".", "_build")) for part in path.relative_to(ROOT).parts)
)


def code(path: Path) -> Iterator[str]:
    """The code of a module, or of each cell of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield text
        return
    for cell in json.loads(text)["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def left_to_the_locale(text: str) -> list[str]:
    """The calls that read or write text in an encoding that they do not name."""
    return [
        ast.unparse(call)
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and _is_left(call)
    ]


def _is_left(call: ast.Call) -> bool:
    named = {keyword.arg for keyword in call.keywords}
    mode = [x.value for x in call.args if isinstance(x, ast.Constant) and isinstance(x.value, str)]
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text"):
            return "encoding" not in named
        case ast.Attribute(attr="open"):  # a path's own has no argument but the mode
            return (
                "encoding" not in named and len(mode) == len(call.args) and "b" not in "".join(mode)
            )
        case ast.Name(id="open"):
            return "encoding" not in named and "b" not in "".join(
                mode[-1:] if call.args[1:] else []
            )
    return "text" in named and "encoding" not in named  # what another program prints


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_no_file_is_read_or_written_as_the_locale_has_it(path: Path) -> None:
    assert [call for text in code(path) for call in left_to_the_locale(text)] == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("open(path)", True),
        ("open('web', 'w')", True),
        ("open('web', 'wb')", False),
        ("open(path, encoding='utf-8')", False),
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("Image.open(path)", False),
        ("path.read_text()", True),
        ("path.write_text('x', encoding='utf-8')", False),
        ("run(['ls'], text=True)", True),
        ("run(['ls'], text=True, encoding='utf-8')", False),
    ],
)
def test_a_call_is_told_apart_by_its_encoding(text: str, left: bool) -> None:
    assert bool(left_to_the_locale(text)) == left
