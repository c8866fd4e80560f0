#!/usr/bin/env bash
# The local learning coefficient by devinterp: first where its value is known (a regular minimum of
# ten weights, 10/2; a fourth power of each, 10/4), then of the sorting transformer of chapter 26 as
# it is trained, at two strengths of the pull to where the chain starts; kept in
# src/cisp_book/data/peers_llc.txt. Outside CI; its packages take minutes, the chains ten more.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q --disable-pip-version-check devinterp==2.0.1 torch==2.13.0 \
  safetensors==0.8.0 jaxtyping==0.3.11 scipy joblib tqdm pandas seaborn
mkdir "$here/cisp"
cp -r "$root/src" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$here/cisp"
"$here/venv/bin/pip" install -q --disable-pip-version-check --no-deps "$here/cisp"
cat > "$here/peer.py" <<'P'
import sys
import warnings
from math import log

import numpy as np
import torch
from datasets import Dataset
from devinterp.slt.llc import llc
from safetensors.torch import load_file
from torch import nn

from cisp.neighbours import sorting

warnings.simplefilter("ignore")
torch.set_num_threads(1)
LISTS, BURN, DRAWS, CHAINS = 4096, 100, 100, 2
BETA = LISTS / log(LISTS)


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(10))


def estimate(model, rows, loss, burn, **options):
    """The coefficient after a burn-in, of each chain; and as `llc` gives it, burn-in and all."""
    data = Dataset.from_dict({"input_ids": rows}).with_format("torch")
    found = llc(model, data, {}, loss_fn=loss, device="cpu", num_burnin_steps=burn,
                num_chains=CHAINS, **options)
    after = found.loss_trace.values[:, burn:].mean(1) - float(found.init_loss)
    return options["n_beta"] * after, float(found.llc_mean)


def says(name, gamma, found):
    own, whole = found
    told = f"{name:24} gamma {gamma:6.0f}  llc {own.mean():6.2f}  chains {np.ptp(own) / 2:5.2f}"
    print(f"{told}  with burn-in {whole:6.2f}", flush=True)
    return own.mean()


for power, known in ((2, 5), (4, 2.5)):
    found = estimate(
        Weights(), [[0, 0]] * 64, lambda m, ids: m.w.pow(power).sum().expand(len(ids), 1),
        burn=500, n_beta=100.0, lr=1e-3, num_draws=3000, batch_size=1, num_init_loss_batches=1,
    )
    off = says(f"known {known}", 0, found) - known
    assert abs(off) < 0.15 * known, f"the library is off by {off} where the value is known"

stored = load_file(sys.argv[1])


def model_at(step):
    model = sorting.Sorter()
    named = {k.partition(" ")[2]: w.float() for k, w in stored.items() if k.startswith(f"{step} ")}
    model.load_state_dict(named)
    return model


def rescaled(model, norm):
    """The same function: LayerNorm takes out the scale of what it reads."""
    with torch.no_grad():
        c = norm / model.E.norm()
        for p in (model.E, model.P, model.O):
            p *= c
    return model


def per_place(model, ids):
    """Losses of the 20 places; the first ten are not asked for, so the others count twice."""
    asked = 2 * sorting.loss(model, ids[:, :10], ids[:, 11:])
    return torch.cat([torch.zeros_like(asked), asked], 1)


x = sorting.lists(batch=LISTS, rng=5)
mixed = sorting.permuted(1.0)
permuted = sorting.Sorter(rng=[0, 1])
list(sorting.train(permuted, steps=400, target=mixed, lr=3e-3, decay=0.5, rng=[0, 2]))
cases = {f"step {step}": (model_at(step), sorting.in_order(x)) for step in (30, 100, 400, 2000)}
norm = cases["step 100"][0].E.norm().item()
for step in (400, 2000):
    cases[f"step {step}, rescaled"] = rescaled(model_at(step), norm), sorting.in_order(x)
cases["permuted, step 400"] = permuted, mixed(x, np.random.default_rng(6))
for name, (model, y) in cases.items():
    rows = torch.cat([x, torch.full_like(x[:, :1], 51), y], 1).tolist()
    before = sorting.loss(model, x, y).mean().item()
    print(f"{name:24} loss {before:.4f}  size {model.E.norm().item():.2f}")
    for gamma in (1e3, 1e4):
        found = estimate(
            model, rows, per_place, burn=BURN, n_beta=BETA, lr=1e-5, localization=gamma,
            num_draws=DRAWS, batch_size=64, num_init_loss_batches=64,
        )
        says(name, gamma, found)
P
cd "$here"
TQDM_DISABLE=1 OMP_NUM_THREADS=1 "$here/venv/bin/python" "$here/peer.py" \
  "$root/src/cisp_book/data/sorting.safetensors" | tee "$root/src/cisp_book/data/peers_llc.txt"
