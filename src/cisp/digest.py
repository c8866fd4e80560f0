"""A digest of what functions do: the definitions behind them, wherever these stand."""

import __future__

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from inspect import getsource, getsourcefile, isfunction
from pathlib import Path
from textwrap import dedent
from types import CodeType

PACKAGE = Path(__file__).parent
ARRAYS = ("Float", "Int", "Num", "Complex")  # a constant made of these only describes

Definition = tuple[str, str, str, set[str]]  # file, name, bare text, names mentioned


def digest(*functions: Callable[..., object], beside: Iterable[Path] = ()) -> str:
    """16 hexadecimal digits that change when what the functions do may have changed.

    Digested are the functions and every definition (function, class or constant at the top of a
    module) that these mention, and that those mention in turn. Definitions are looked for by name
    in this package, in the functions' own files and in the files `beside`, private names in the
    same file only: so moving a definition changes nothing, nor does a comment, a docstring, an
    annotation or an import. What a function is given as an argument is not seen.
    """
    plain = [f.func if isinstance(f, partial) else f for f in functions]
    own = [Path(getsourcefile(f) or "") for f in plain if isfunction(f)]
    files = {path.resolve() for path in (*PACKAGE.rglob("*.py"), *beside, *own) if path.is_file()}
    known = [definition for file in files for definition in _definitions(file)]
    waiting = [_itself(f) for f in plain]
    found: set[str] = set()
    while waiting:
        file, _, text, names = waiting.pop()
        if text not in found:
            found.add(text)
            waiting += [d for d in known if d[1] in names and (d[0] == file or d[1][0] != "_")]
    return sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


def bare(node: ast.AST) -> str:
    """A syntax tree as text, less its docstrings, annotations, array types and imports.

    The tree is changed. The text is the same in every version of Python.
    """
    for child in ast.walk(node):
        if isinstance(body := getattr(child, "body", None), list):
            body[:] = [statement for statement in body if not _says_nothing(statement)]
        for name in ("annotation", "returns"):
            if getattr(child, name, None) is not None:
                setattr(child, name, None)
    return repr(_plain(node))


def _definitions(file: Path) -> Iterator[Definition]:
    """The definitions of a file, each under every name that it binds."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [x for x in ast.walk(tree) if isinstance(x, ast.Import | ast.ImportFrom)]
    aliases = {a.asname: a.name for x in imports for a in x.names if a.asname}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound = {node.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not _says_nothing(node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = {x.id for t in targets for x in ast.walk(t) if isinstance(x, ast.Name)}
        else:
            continue
        names = {aliases.get(name, name).rpartition(".")[2] for name in _mentioned(node)}
        text = bare(node)
        for name in bound:
            yield str(file), name, text, names


def _itself(function: Callable[..., object]) -> Definition:
    """One function; what has no source stands for itself."""
    if not isfunction(function):
        return "", "", repr(function), set()
    file, name, text = getsourcefile(function) or "", function.__name__, getsource(function)
    try:
        node = ast.parse(dedent(text)).body[0]
    except SyntaxError:  # a lambda within a longer expression
        return file, name, text, set(_names(function.__code__))
    names = _mentioned(node)
    return str(Path(file).resolve()), name, bare(node), names


def _mentioned(node: ast.stmt) -> set[str]:
    """The globals and attributes that a definition uses, those in annotations left out."""
    module = ast.Module([node], [])
    flag = __future__.annotations.compiler_flag
    return set(_names(compile(module, "", "exec", flag, dont_inherit=True)))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        names = (x.id for x in ast.walk(node.value) if isinstance(x, ast.Name))
        return any(name in ARRAYS for name in names)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _plain(node: object) -> object:
    """A syntax tree as tuples and lists, without what a newer Python adds empty."""
    if isinstance(node, ast.AST):
        fields = [(k, _plain(v)) for k, v in ast.iter_fields(node) if v is not None and v != []]
        return type(node).__name__, fields
    return [_plain(child) for child in node] if isinstance(node, list) else node
