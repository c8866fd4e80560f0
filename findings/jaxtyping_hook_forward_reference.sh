#!/usr/bin/env bash
# jaxtyping 0.3.11 with beartype 0.23.1: under jaxtyping's import hook an annotation that names a
# class which does not exist yet, as a method's `-> "Early"` within class Early does, is checked by
# nobody and nothing says so. The hook decorates functions while the module runs; what cannot be
# resolved then is dropped. beartype alone, on the class once it is there, does check it.
# Seen: a method that promises "Early" and returns 3 passes under the hook; a wrong int argument of
# the same class is caught; beartype alone raises BeartypeCallHintReturnViolation.
# Worth knowing before a green run is taken as proof: list the annotations that resolve to nothing.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q jaxtyping==0.3.11 beartype==0.23.1
cd "$here"
cat > early.py <<'P'
class Early:
    def again(self) -> "Early":
        return 3

    def take(self, k: int) -> None: ...
P
"$here/venv/bin/python" - <<'P'
import sys

from beartype import beartype
from beartype.roar import BeartypeCallHintReturnViolation
from jaxtyping import TypeCheckError, install_import_hook

with install_import_hook("early", "beartype.beartype"):
    from early import Early
try:
    Early().take("a")
except TypeCheckError:
    pass
else:
    sys.exit("the hook checks nothing at all")
try:
    found = Early().again()
except TypeCheckError:
    sys.exit("changed: the return is checked")
assert found == 3

del sys.modules["early"]
from early import Early as Plain

try:
    beartype(Plain)().again()
except BeartypeCallHintReturnViolation:
    print("still so: the hook lets pass what beartype alone refuses")
else:
    sys.exit("beartype alone no longer checks it")
P
