"""A key of what a result depends on: values by what they hold, functions with all that they use."""

import builtins
import copyreg
import dis
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from importlib import import_module
from inspect import CO_VARARGS, unwrap
from pathlib import Path
from site import getusersitepackages
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import numpy as np
import torch

from cisp.digest import PACKAGE, digest

INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
INSTALLED.add(Path(getusersitepackages()))
PLAIN = (type(None), bool, int, float, complex, str, bytes)
# What a class has from the machine, not from its author.
BESIDE = {"__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__qualname__"}
BESIDE |= {"__firstlineno__", "__static_attributes__", "__annotate__", "__annotate_func__"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
NUMBERED = vars(torch.nn.Module()).keys() - {"training", "_parameters", "_buffers", "_modules"}
ABSENT = object()


def key(**things: object) -> str:
    """32 hexadecimal digits, the same for equal things: equal values, functions that do the same.

    A function is what it runs, its defaults, what it closes over, and every global that it uses:
    helpers and classes likewise, data by content. Of this package the definitions count that are
    reached (`digest`), of another installed package its name and version. Tensors, arrays and
    tables are compared by content, other objects by what they would be pickled from. What a
    function reads from a file, or looks up by a name made as it runs, is not seen.

    Raises ValueError that names what no key can hold, such as an open file.
    """
    found = _Key()
    parts = [found.of(thing, name) for name, thing in sorted(things.items())]
    return _sum("key", *sorted(things), *parts, digest(*found.ours)).hex()[:32]


class _Key:
    """Digests of things, and the functions and classes of this package met on the way."""

    def __init__(self) -> None:
        self.ours: list[Callable[..., object]] = []
        self.within: list[int] = []  # what is being looked at, to notice circles
        self.known: dict[int, tuple[object, bytes]] = {}  # functions and classes done

    def of(self, value: object, path: str) -> bytes:
        """The digest of one thing; `path` says in words where it was met."""
        if type(value) in PLAIN:
            return _sum(type(value).__name__, repr(value))
        if id(value) in self.within:
            return _sum("circle", str(self.within.index(id(value))))
        if id(value) in self.known:
            return self.known[id(value)][1]
        self.within.append(id(value))
        found = self._of(value, path)
        self.within.pop()
        if isinstance(value, FunctionType | type):
            self.known[id(value)] = value, found
        return found

    def _of(self, value: object, path: str) -> bytes:
        match value:
            case np.generic() if type(value.item()) in PLAIN:
                return self.of(value.item(), path)
            case np.ndarray() if not value.dtype.hasobject:
                return _sum("array", str(value.dtype), str(value.shape), value.tobytes())
            case torch.Tensor() if value.layout == torch.strided:
                plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
                data = plain.flatten().view(torch.uint8).numpy().tobytes()
                return _sum("tensor", str(value.dtype), str(tuple(value.shape)), data)
            case torch.nn.Module():
                return self._network(value, path)
            case partial():
                return self._all("partial", [value.func, value.args, value.keywords], path)
            case tuple() | list() if type(value) in (tuple, list):
                return self._all(type(value).__name__, value, path)
            case dict() if type(value) is dict:
                return self._all("dict", [x for pair in value.items() for x in pair], path)
            case set() | frozenset():
                return _sum("set", *sorted(self.of(x, path) for x in value))
            case ModuleType():
                return self._module(value, path)
            case FunctionType():
                return self._function(value, path)
            case type():
                return self._class(value, path)
            case MethodType() | BuiltinFunctionType() if not isinstance(
                value.__self__, ModuleType | type | None
            ):
                return self._all("method", [value.__self__, value.__name__], path)
            case BuiltinFunctionType():
                return _sum("builtin", str(value.__module__), value.__qualname__)
            case staticmethod() | classmethod():
                return self.of(value.__func__, path)
            case property():
                return self._all("property", [value.fget, value.fset, value.fdel], path)
        return self._object(value, path)

    def _all(self, kind: str, values: Iterable[object], path: str) -> bytes:
        return _sum(kind, *(self.of(value, path) for value in values))

    def _function(self, function: FunctionType, path: str) -> bytes:
        if _is_ours(function.__module__):
            self.ours.append(unwrap(function))
            cells = _cells(unwrap(function))
            return self._all("ours", [function.__qualname__, *cells], path)
        if _is_installed(function.__module__):
            return _named(function)
        known = [function.__defaults__, function.__kwdefaults__, *_cells(function)]
        used = [self._used(chain, function, path) for chain in _mentioned(function.__code__)]
        runs = self._code(function.__code__, function.__doc__)
        return _sum("function", runs, self._all("", known, path), *used)

    def _code(self, code: CodeType, doc: str | None = None) -> bytes:
        """What runs, without its docstring and the places of its lines."""
        skipped = doc is not None and code.co_consts[:1] == (doc,)
        constants = code.co_consts[skipped:]
        parts = [self._code(c) if isinstance(c, CodeType) else self.of(c, "") for c in constants]
        given = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
        names = [*code.co_names, *code.co_varnames[:given], *code.co_freevars]
        return _sum("code", code.co_code, code.co_exceptiontable, *names, *parts)

    def _used(self, chain: list[str], function: FunctionType, path: str) -> bytes:
        """What a global name, or an attribute of a module, stands for."""
        name, *rest = chain
        value = function.__globals__.get(name, getattr(builtins, name, ABSENT))
        if name.startswith("import "):
            value = import_module(name.removeprefix("import "), function.__globals__["__package__"])
        while rest and isinstance(value, ModuleType) and not _is_installed(value.__name__):
            value = getattr(value, name := rest.pop(0), ABSENT)
        if value is ABSENT:
            return _sum("absent", name)
        return _sum(name, self.of(value, f"{name} in {path}"))

    def _class(self, kind: type, path: str) -> bytes:
        if _is_ours(kind.__module__):
            self.ours.append(kind)
            return _sum("ours", kind.__qualname__)
        if _is_installed(kind.__module__):
            return _named(kind)
        own = [(name, value) for name, value in vars(kind).items() if name not in BESIDE]
        members = [_sum(name, self.of(value, f"{name} in {path}")) for name, value in own]
        return _sum("class", kind.__qualname__, self._all("", kind.__bases__, path), *members)

    def _module(self, module: ModuleType, path: str) -> bytes:
        """A module as a whole: its text and the code that it knows; if installed, its version."""
        if _is_ours(module.__name__):
            return _sum("ours", *(file.read_bytes() for file in sorted(PACKAGE.rglob("*.py"))))
        if _is_installed(module.__name__):
            return _named(module)
        file = getattr(module, "__file__", None)
        if file is None:
            raise _unknown(module, path)
        code = [x for x in vars(module).values() if isinstance(x, ModuleType | FunctionType | type)]
        return _sum("module", Path(file).read_bytes(), self._all("", code, path))

    def _network(self, network: torch.nn.Module, path: str) -> bytes:
        """A network without what torch numbers: its class, what it holds, and its hooks."""
        own = {name: x for name, x in vars(network).items() if name not in NUMBERED}
        hooks = [list(getattr(network, name).values()) for name in HOOKS]
        return self._all("network", [type(network), own, hooks], path)

    def _object(self, value: object, path: str) -> bytes:
        """An object by what it would be pickled from, a wrapper by what it wraps."""
        if callable(getattr(value, "__wrapped__", None)):
            return self.of(value.__wrapped__, path)  # type: ignore[attr-defined]  # asked above
        reduce = copyreg.dispatch_table.get(type(value), lambda x: x.__reduce_ex__(4))
        try:
            found = reduce(value)
        except Exception:  # whatever it says, it cannot be taken apart
            raise _unknown(value, path) from None
        if isinstance(found, str):
            return _sum("global", str(type(value).__module__), found)
        parts = [list(x) if i in (3, 4) and x is not None else x for i, x in enumerate(found)]
        return self._all("object", parts, path)


def _sum(kind: str, *parts: str | bytes) -> bytes:
    """One digest of several parts, each told apart from the next."""
    whole = sha256(kind.encode())
    for part in parts:
        whole.update(sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.digest()


def _named(thing: ModuleType | FunctionType | type) -> bytes:
    """Something of an installed package, by its name and the package's version."""
    module = getattr(thing, "__module__", None) or thing.__name__
    version = str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))
    return _sum("installed", module, getattr(thing, "__qualname__", ""), version)


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "cisp"


def _is_installed(module: str | None) -> bool:
    """Whether a module is Python's own, or of a package among the installed ones."""
    top = (module or "").partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and not INSTALLED.isdisjoint(Path(file).parents)


def _cells(function: FunctionType) -> list[object]:
    """What a function closes over."""
    found: list[object] = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not there yet
            found.append("")
    return found


def _mentioned(code: CodeType) -> Iterator[list[str]]:
    """The globals that some code uses, each with the attributes that are asked of it."""
    chain: list[str] = []
    steps = list(dis.get_instructions(code))
    for place, step in enumerate(steps):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            chain.append(step.argval)
            continue
        if chain:
            yield chain
        chain = [step.argval] if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
        if step.opname == "IMPORT_NAME":  # after its level and the names wanted from it
            yield [f"import {'.' * steps[place - 2].argval}{step.argval}"]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _mentioned(constant)


def _unknown(value: object, path: str) -> ValueError:
    return ValueError(
        f"{path} holds a {type(value).__name__}, of which no key can tell what is in it; with "
        "memory, give functions only what can be compared, or leave memory out"
    )
