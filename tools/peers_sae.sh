#!/usr/bin/env bash
# SAELens (sae-lens on PyPI) on the activations of a bed: its TopK autoencoder, its own scores of
# synthetic truth, and beside them those of cisp.recovery, kept in src/cisp_book/data/peers_sae.txt. Outside
# CI; its 60 packages take minutes.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
"${PYTHON:-python3.11}" -m venv "$here/venv"
"$here/venv/bin/pip" install -q --disable-pip-version-check sae-lens==6.54.12 torch==2.13.0 scipy \
  jaxtyping joblib tqdm pandas seaborn
mkdir "$here/cisp"
cp -r "$root/src" "$root/pyproject.toml" "$root/README.md" "$root/LICENSE" "$here/cisp"
"$here/venv/bin/pip" install -q --disable-pip-version-check --no-deps "$here/cisp"
cat > "$here/peer.py" <<'P'
import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from sae_lens.synthetic import FeatureDictionary, eval_sae_on_synthetic_data
from sae_lens.training.activation_scaler import ActivationScaler
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor, nn

import cisp

T, D, S, K, LAYER = 100, 400, 5, 400, 1
network = cisp.superpose(cisp.conditional_rotations(T=T, rng=0), D=D, S=S, L=5, rng=100)
bed = cisp.Testbed(network, z=2, layer=LAYER)


class Features(nn.Module):
    """True features: what every neuron of every circuit holds, (batch, T d)."""

    stream = bed.stream(batch=1024, rng=7)

    def sample(self, batch_size: int) -> Tensor:
        batch = next(self.stream)
        held = torch.zeros(len(batch.active), T, network.d)
        held[torch.arange(len(held)).unsqueeze(1), batch.active] = batch.states * S**0.5
        return held.flatten(1)[:batch_size]

    forward = sample


true = torch.zeros(T, network.d, network.d, network.n)
for t, row in enumerate(network.tables[LAYER - 1]):
    for k in range(network.d):
        true[t, k, k, row] = S**-0.5
truth = FeatureDictionary(num_features=T * network.d, hidden_dim=D, bias=False, initializer=None)
with torch.no_grad():
    truth.feature_vectors.copy_(true.view(T * network.d, D))

scale = ActivationScaler(D**0.5 / float(bed.sample().activations.norm(dim=1).mean()))
trainer = SAETrainer(
    cfg=SAETrainerConfig(
        total_training_samples=500_000,
        train_batch_size_samples=1024,
        device="cpu",
        lr=3e-3,
        lr_end=3e-4,
        lr_decay_steps=150,
        dead_feature_window=200,
    ),
    sae=TopKTrainingSAE(TopKTrainingSAEConfig(d_in=D, d_sae=K, k=8)),
    data_provider=(scale(batch.activations) for batch in bed.stream(batch=1024, rng=1)),
)
sae = trainer.fit()
print("its own scores, neurons as features:")
print(
    eval_sae_on_synthetic_data(
        sae, truth, Features(), 10_000, batch_size=1000, activation_scaler=scale
    )
)
print("those of cisp, circuits as directions and as subspaces:")
print(cisp.recovery(bed, decoder=sae.W_dec, encode=lambda x: sae.encode(scale(x))).round(3).to_string())
P
WANDB_MODE=disabled "$here/venv/bin/python" "$here/peer.py" > "$root/src/cisp_book/data/peers_sae.txt"
