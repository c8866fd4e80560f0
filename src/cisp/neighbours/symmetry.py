"""How far a matrix is the same along its lines parallel to the diagonal: translational symmetry."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import instance, refuse


def centred(M: Float[Tensor, "*heads n m"]) -> Float[Tensor, "*heads n m"]:
    """M less the mean of each row, which no softmax over columns can see.

    >>> centred(torch.tensor([[1.0, 2, 6]])).tolist()
    [[-2.0, -1.0, 3.0]]
    """
    instance("M", M, Tensor)
    return M - M.mean(-1, keepdim=True)


def along_less_across(M: Float[Tensor, "*heads n n"]) -> Float[Tensor, "*heads"]:
    """The measure of translational symmetry of file 004 (C26.3): the less, the more symmetric.

    >>> M = torch.tensor([[1.0, 2], [5, 1]])  # Toeplitz
    >>> along_less_across(M).item()
    -3.0
    """
    along, across = _steps(M)
    return along - across


def symmetry(M: Float[Tensor, "*heads n n"]) -> Float[Tensor, "*heads"]:
    """The same free of scale: (across - along) / (across + along), 1 if M is Toeplitz.

    >>> M = torch.tensor([[1.0, 2], [5, 1]])  # Toeplitz
    >>> symmetry(M).item(), symmetry(M.flip(-1)).item()
    (1.0, -1.0)
    """
    along, across = _steps(M)
    return (across - along) / (across + along)


def _steps(M: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of absolute differences of neighbours parallel to the diagonal, and perpendicular."""
    M = _square(M)
    along = (M[..., 1:, 1:] - M[..., :-1, :-1]).abs().sum((-1, -2))
    return along, (M[..., 1:, :-1] - M[..., :-1, 1:]).abs().sum((-1, -2))


def deviation(M: Float[Tensor, "*heads n n"]) -> Float[Tensor, "*heads"]:
    """The variant it concedes (C26.4): 1 - s/s', standard deviations along lines and across.

    s is the root of the mean squared distance of an entry from the mean of its line.

    >>> M = torch.tensor([[1.0, 2], [5, 1]])  # Toeplitz
    >>> round(deviation(M).item(), 2)
    1.0
    """
    M = _square(M)
    along, across = ((x - toeplitz(x)).square().mean((-1, -2)).sqrt() for x in (M, M.flip(-1)))
    return 1 - along / across


def toeplitz(M: Float[Tensor, "*heads n n"]) -> Float[Tensor, "*heads n n"]:
    """M with each entry replaced by the mean of its line parallel to the diagonal.

    >>> toeplitz(torch.tensor([[1.0, 2], [3, 5]])).tolist()
    [[3.0, 2.0], [3.0, 3.0]]
    """
    n = _square(M).shape[-1]
    line = (torch.arange(n)[:, None] - torch.arange(n) + n - 1).flatten()
    flat = M.flatten(-2)
    sums = flat.new_zeros(*flat.shape[:-1], 2 * n - 1).index_add(-1, line, flat)
    return (sums / line.bincount())[..., line].view_as(M)


def _square(M: Tensor) -> Tensor:
    instance("M", M, Tensor)
    if M.ndim < 2 or M.shape[-1] != M.shape[-2] or M.shape[-1] < 2:
        refuse("M", M, "one or more square matrices, 2 x 2 or larger")
    return M
