#!/usr/bin/env bash
# joblib 1.6.0 with torch 2.13.0: equal tensors have different hashes, so a cached function that is
# given a tensor, or a partial over one, is run again and again. Arrays of numpy are hashed by what
# they hold, tensors by their pickle, in which the storage has a name of its own.
# Seen: hash(x) == hash(x), but hash(x) != hash(x.clone()); three equal calls are run three times.
# Worth knowing for any cache over tensors: hash `x.numpy()` with its dtype instead.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q joblib==1.6.0 torch==2.13.0 numpy==2.4.6
cd "$here"
"$here/venv/bin/python" - <<'P'
import sys

import joblib
import torch

x = torch.ones(3)
assert joblib.hash(x) == joblib.hash(x)
assert joblib.hash(x.numpy()) == joblib.hash(x.clone().numpy())
if joblib.hash(x) == joblib.hash(x.clone()):
    sys.exit("changed: equal tensors have equal hashes")

runs = []
total = joblib.Memory("memory", verbose=0).cache(lambda x: runs.append(x) or float(x.sum()))
kept = [torch.ones(3) for _ in range(3)]
assert [total(x) for x in kept] == [3, 3, 3]
print("still so:", len({joblib.hash(x) for x in kept}), "hashes of 3 equal tensors,", len(runs), "runs")
P
