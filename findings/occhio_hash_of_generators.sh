#!/usr/bin/env bash
# occhio 0.2.3 with torch 2.13.0: a ModelGrid over seeds trains some of its models on one another's
# samples, and from equal starts into the same weights to the bit, without a word. Distributions that
# sample alike share their samples; two are held alike if, among others, torch.hash_tensor of their
# generators' states agrees. That hash is the exclusive or of the 5056 bytes of a state, each made a
# 64-bit integer: one of 256 values. After training the followers' generators are overwritten with
# the leader's, so they stay together. cache_samples=False does not share.
# Seen: of 100 generators with seeds 0 to 99, all of different states, 83 distributions are left
# (chance: 256 (1 - (255/256)^100) = 83), and 83 different models.
# Worth knowing wherever a spread over seeds is measured: it comes out too small.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q occhio==0.2.3 torch==2.13.0
cat > "$here/script.py" <<'P'
import sys

import torch
from occhio.autoencoder import TiedLinearRelu
from occhio.distributions.sparse import SparseUniform
from occhio.model_grid import Axis, ModelGrid
from occhio.toy_model import ToyModel


def create(params):
    generator = torch.Generator().manual_seed(int(params["seed"]))
    start = torch.Generator().manual_seed(1)
    return ToyModel(
        SparseUniform(5, 0.05, generator=generator), TiedLinearRelu(5, 2, generator=start)
    )


def different(tensors):
    return len({tensor.numpy().tobytes() for tensor in tensors})


left = {}
for cached in (True, False):
    grid = ModelGrid(create, [Axis("seed", list(range(100)))], cache_samples=cached)
    states = different([model.distribution.generator.get_state() for model in grid.models])
    assert states == 100, f"{states} states of 100 seeds"
    grid.fit(20)
    left[cached] = different([model.ae.W.detach() for model in grid.models])
assert left[False] == 100, "models share samples without the cache too"
if left[True] == 100:
    sys.exit("changed: every seed has samples of its own")
print(f"still so: 100 seeds give {left[True]} different models, {left[False]} without the cache")
P
"$here/venv/bin/python" "$here/script.py" 2> "$here/progress" || { cat "$here/progress"; exit 1; }
