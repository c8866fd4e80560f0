#!/usr/bin/env bash
# myst-nb 1.4.0 with `nb_merge_streams = True`: what one `print` writes can end up on two lines.
# A kernel sends what is printed in pieces, where they end depends on the moment. MyST-NB joins the
# pieces of a stream but first strips each at its end and puts a line break there, so that
# "mean:" and " [1]" of one line are two lines, in some builds and not in others. nbclient's
# `coalesce_streams`, which the same notebook passes through elsewhere, joins them as they are.
# Seen: 'mean:\n [1]\n' where 'mean: [1]\n' was printed; blank lines at the end of a piece are lost.
# Worth knowing where pages of two builds are compared, or a page with its stored notebook.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q myst-nb==1.4.0
cd "$here"
"$here/venv/bin/python" - <<'P'
import sys

from myst_nb.core.utils import coalesce_streams
from nbformat.v4 import new_output

pieces = [new_output("stream", name="stdout", text=text) for text in ("mean:", " [1]\n")]
(merged,) = coalesce_streams(pieces)
if merged.text == "mean: [1]\n":
    sys.exit("changed: the line is whole")
assert merged.text == "mean:\n [1]\n", repr(merged.text)
print("still so:", repr(merged.text))
P
