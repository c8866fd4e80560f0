#!/usr/bin/env bash
# jaxtyping 0.3.11 with beartype 0.23.1: a method annotated `-> Self` (PEP 673) cannot be imported
# under jaxtyping's import hook, although beartype checks the same class when it decorates it.
# The hook decorates the methods one by one, never the class, and beartype takes Self only from a
# decorated class: BeartypeDecorHintPep673Exception while the module is imported.
# Worth knowing where a torch module overrides a method that returns itself.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q jaxtyping==0.3.11 beartype==0.23.1
cat > "$here/plain.py" <<'P'
from typing import Self


class Counter:
    def more(self) -> Self:
        return self
P
cd "$here"
"$here/venv/bin/python" - <<'P'
from beartype import beartype
from jaxtyping import install_import_hook
from plain import Counter

assert isinstance(beartype(Counter)().more(), Counter), "beartype alone no longer takes Self"
import sys

del sys.modules["plain"]
try:
    with install_import_hook("plain", "beartype.beartype"):
        import plain  # noqa: F401
except Exception as error:
    assert type(error).__name__ == "BeartypeDecorHintPep673Exception", repr(error)
    print("still so:", type(error).__name__)
else:
    sys.exit("changed: the hook takes Self")
P
