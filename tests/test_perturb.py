"""Moves on a sphere against linear maps, whose responses are known, and against a step."""

import importlib
from math import cos, pi
from types import ModuleType

import numpy as np
import pytest
import torch

import cisp
from cisp.neighbours import perturb

M = torch.diag(torch.tensor([3.0, 2, 1, 0.5]))
A = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 4))).float()


def linear(A: torch.Tensor) -> torch.Tensor:
    return A @ M


def test_a_linear_map_responds_by_its_squares_and_isotropic_moves_by_their_mean() -> None:
    axis = torch.eye(4)[[1]].expand(len(A), 4)
    # float32 of numbers near 1, subtracted
    assert torch.allclose(perturb.response(linear, A, 7 * axis, 0.1), torch.tensor(0.04), rtol=1e-3)
    u = perturb.isotropic(len(A), 4, rng=1)
    assert u.mean(0).numpy() == pytest.approx(0, abs=0.05)  # four standard errors
    mean = perturb.response(linear, A, u, 0.1).mean()
    # four standard errors of 2000 draws, each of relative spread below 1
    assert mean.item() == pytest.approx(0.01 * (9 + 4 + 1 + 0.25) / 4, rel=0.09)


def test_matched_directions_have_the_covariance_of_the_samples_whatever_their_mean() -> None:
    X = A * torch.tensor([10.0, 1, 1, 0.1]) + 50
    u = perturb.matched(X, 4000, rng=1)
    assert u.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    share = u.square().mean(0)
    # along the first axis nearly all: E[1 / (1 + chi2_2 / 100 chi2_1)] = 0.88 by draws of numpy
    g = np.random.default_rng(2).normal(size=(100_000, 4)) * X.std(0).numpy()
    expected = (g**2 / (g**2).sum(1, keepdims=True)).mean(0)
    assert share.numpy() == pytest.approx(expected, abs=0.01)  # four standard errors


def test_directions_within_a_subspace_stay_there_and_are_even() -> None:
    columns = torch.eye(4)[:, 1:3].expand(len(A), 4, 2)
    u = perturb.within(columns, rng=1)
    assert not u[:, [0, 3]].any()
    assert u.mean(0).numpy() == pytest.approx(0, abs=0.08)  # five standard errors
    assert u.square().mean(0)[1].item() == pytest.approx(0.5, abs=0.04)  # five standard errors


def test_a_great_circle_has_its_angle_and_a_linear_map_answers_by_cosine_squared() -> None:
    u, v = perturb.isotropic(50, 4, rng=1), perturb.isotropic(50, 4, rng=2)
    for angle in (0, 0.3, pi / 2, 2):
        w = perturb.great_circle(2 * u, v, angle)
        assert w.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
        assert (u * w).sum(1).numpy() == pytest.approx(cos(angle), abs=1e-5)
    project = torch.outer(u[0], u[0])
    w = perturb.great_circle(u[:1], v[:1], 0.7)
    found = perturb.response(lambda a: a @ project, A[:1], w, 1)
    assert found.item() == pytest.approx(cos(0.7) ** 2, rel=1e-4)


def test_the_steepest_direction_is_the_first_singular_vector() -> None:
    start = perturb.isotropic(20, 4, rng=3)
    u = perturb.steepest(linear, A[:20], 0.1, start=start, rate=0.05)
    # steps of 0.05 end within that of the top
    assert (u[:, 0].abs() > 0.99).all()


def test_a_step_hides_small_moves_along_its_own_direction() -> None:
    def step(a: torch.Tensor) -> torch.Tensor:
        return (2 * a - 0.5).clamp(0, 1)

    axis = torch.eye(4)[[0]]
    responses = [perturb.response(step, torch.zeros(1, 4), axis, r).item() for r in (0.2, 0.5, 1)]
    assert responses == pytest.approx([0, 0.25, 1])


def test_a_sphere_without_radius_and_a_walk_without_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="radius=0 is not allowed"):
        perturb.response(linear, A, A, 0)
    with pytest.raises(ValueError, match="steps=0 is not allowed"):
        perturb.steepest(linear, A, 1, start=A, steps=0)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("cisp_book.studies.perturbed")


def small() -> cisp.Network:
    circuits = cisp.conditional_rotations(T=12, rng=1)
    return cisp.superpose(circuits, D=96, S=3, L=4, rng=2)


def test_what_comes_out_of_moved_activations_is_that_of_a_patched_run(study: ModuleType) -> None:
    network, move = small(), torch.full((5, 96), 0.1)
    active, a0 = network.sample(batch=5, z=2, rng=3)
    with torch.no_grad():
        A0 = network.embed(a0, active)
        A = network(A0)
        patched = network(A0, {2: lambda A: A + move.view(5, 4, 24)})
        found = study.outputs(network, 2)(A[2].flatten(1) + move)
    expected = cisp.estimates(network, patched, 4)["rotation"]
    assert torch.allclose(found, expected, atol=1e-5)  # float32, other sums


def test_the_reads_are_the_slopes_of_the_indicators(study: ModuleType) -> None:
    network = small()
    A = torch.zeros(1, 96, requires_grad=True)
    indicators = cisp.estimates(network, A, 2)["indicator"][0, :, 0]
    for t, e in enumerate(study.reads(network, 2)):
        (slope,) = torch.autograd.grad(indicators[t], A, retain_graph=True)
        assert torch.allclose(e, slope[0] / slope.norm(), atol=1e-6)


def test_directions_of_the_study_are_where_they_say(study: ModuleType) -> None:
    bed = cisp.Testbed(small(), z=2, layer=2)
    batch = bed.sample(batch=40, rng=4)
    with pytest.MonkeyPatch.context() as only:
        only.setattr(study, "CIRCUITS", 12)
        only.setattr(study, "LATENTS", 24)
        found = study.of_circuits(bed, batch)
        code = study.of_an_autoencoder(bed.sample(batch=512).activations, batch.activations, 2, 0)
    on, Q = batch.on(12), study.spanned(bed, batch)
    which = (found["active"] @ bed.directions().T).argmax(1, keepdim=True)
    assert on.gather(1, which).all()
    which = (found["inactive"] @ bed.directions().T).argmax(1, keepdim=True)
    assert not on.gather(1, which).any()
    inside = torch.einsum("bDr,bD->br", Q, found["active, within"])
    assert inside.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    # of the two latents of a code, one goes and another comes: no longer than twice a length of 1
    assert (code["code, another"].norm(dim=1) <= 2).all()
    assert code["autoencoder"].norm(dim=1).mean() < batch.activations.norm(dim=1).mean()
