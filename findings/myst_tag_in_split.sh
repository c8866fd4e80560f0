#!/usr/bin/env bash
# myst-parser 3.0.1 with Sphinx 7.4.7: a displayed formula of several lines that carries its own
# number by \tag, valid in MathJax and KaTeX and shown so by other readers of Markdown, is put into
# \begin{split} by Sphinx's HTML writer, \tag and all. MathJax answers "\tag not allowed in split
# environment". A formula of one line is left as it is. No warning, not even with -W.
# Seen: \begin{split} around the formula with two lines, none around the one with a single line.
# Worth knowing for notebooks that are read elsewhere too: set `nowrap` on such blocks in a
# doctree-read handler, and write the \[ and \] that nowrap leaves out.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q sphinx==7.4.7 myst-parser==3.0.1
mkdir "$here/book"
cat > "$here/book/conf.py" <<'P'
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
P
cat > "$here/book/index.md" <<'P'
# A page

$$x = 1 \tag{A.1}$$

$$
\begin{aligned}
x &= 1 \\
y &= 2
\end{aligned} \tag{A.2}
$$
P
"$here/venv/bin/python" -m sphinx -q -W "$here/book" "$here/out"
"$here/venv/bin/python" - "$here/out/index.html" <<'P'
import re
import sys

page = open(sys.argv[1], encoding="utf-8").read()
formulas = re.findall(r'<div class="math[^>]*>(.*?)</div>', page, re.DOTALL)
assert [len(re.findall(r"\\tag\{A\.\d\}", formula)) for formula in formulas] == [1, 1]
inside = [bool(re.search(r"\\begin\{split\}.*\\tag.*\\end\{split\}", f, re.DOTALL)) for f in formulas]
print("a tag inside split: one line", inside[0], "two lines", inside[1])
if inside != [False, True]:
    sys.exit("changed: the tag is not in split, or in both")
print("still so")
P
