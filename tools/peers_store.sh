#!/usr/bin/env bash
# tms-kit (PyPI) on the cases of book/23_store_features.ipynb, beside cisp.neighbours.store: five
# features in the plane, and many in 30 dimensions; the same steps, batches and rates for both, and
# the time of each (of the CPU, one thread). Kept in src/cisp_book/data/peers_store.txt. Outside CI; minutes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q --disable-pip-version-check tms-kit==0.4.1 torch==2.13.0 scipy \
  joblib jaxtyping tqdm pandas seaborn safetensors
mkdir "$here/cisp"
cp -r "$root/src" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$here/cisp"
"$here/venv/bin/pip" install -q --disable-pip-version-check --no-deps "$here/cisp"
cat > "$here/peer.py" <<'P'
from time import process_time

import torch
from tms_kit.data import IIDFeatureGenerator
from tms_kit.loss import ImportanceWeightedLoss
from tms_kit.model import Model
from tms_kit.optimize import optimize
from tms_kit.tms import TMS
from torch import Tensor

from cisp.neighbours import store

torch.set_num_threads(1)


def falling(step: int, steps: int) -> float:
    return 0.01 ** (step / steps)


class Peer(TMS):
    """What tms-kit asks for: a model, inputs and a loss."""

    def __init__(self, p: Tensor, D: int, importance: Tensor) -> None:
        k, T = p.shape
        self.model = Model(n_features=T, n_inst=k, d_hidden=D, device="cpu")
        self.data_gen = IIDFeatureGenerator(T, k, p)
        self.loss_calc = ImportanceWeightedLoss(T, importance)


def peer(p: Tensor, D: int, importance: Tensor, steps: int, batch: int) -> Tensor:
    torch.manual_seed(0)
    tms = Peer(p, D, importance)
    optimize(tms, steps=steps, batch_size=batch, lr=1e-2, lr_scale=falling, disable_tqdm=True)
    return tms.model.W.detach()


def ours(p: Tensor, D: int, importance: Tensor, steps: int, batch: int) -> Tensor:
    k, T = p.shape
    begun = store.start(k, D, T, rng=0), torch.zeros(k, T)
    return store.learn(
        store.stored, begun, p=p, importance=importance, steps=steps, batch=batch, rng=1
    )[0]


def pentagons(W: Tensor) -> int:
    """Models with five features stored, no two of them within 50 degrees."""
    angle = torch.rad2deg(torch.atan2(W[:, 0], W[:, 1])).sort(1).values
    gaps = torch.cat([angle, angle[:, :1] + 360], 1).diff(dim=1)
    return int(((gaps > 50).all(1) & (W.norm(dim=1) > 0.5).all(1)).sum())


plane = torch.full((50, 5), 0.05), 2, 0.9 ** torch.arange(5.0).unsqueeze(0), 2000, 256
dense = torch.tensor([0.8, 0.3, 0.2, 0.1, 0.05, 0.02]).unsqueeze(1).expand(-1, 200)
uniform = dense.contiguous(), 30, torch.ones(1, 200), 1500, 256
for name, run in (("tms-kit", peer), ("cisp", ours)):
    start = process_time()
    found = pentagons(run(*plane))
    print(f"{name}: 5 in 2, p=0.05: {found} pentagons of 50, {process_time() - start:.0f} s of CPU")
    start = process_time()
    W = run(*uniform)
    each = (30 / W.square().sum((1, 2))).numpy().round(3)
    share = store.dimensionality(W)[W.norm(dim=1) > 0.5]
    half = float(((share - 0.5).abs() < 0.02).float().mean())
    print(f"{name}: 200 in 30, p={dense[:, 0].numpy().round(2)}: D / |W|^2 {each},")
    print(f"    shares of a dimension within 0.02 of 1/2: {half:.2f}, {process_time() - start:.0f} s of CPU")
P
"$here/venv/bin/python" "$here/peer.py" | tee "$root/src/cisp_book/data/peers_store.txt"
