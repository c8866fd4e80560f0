"""Time of the structured forward pass against the dense one: medians, one run, this machine."""

import torch
from torch.utils.benchmark import Timer

import cisp


def main() -> None:
    """Print one row for each width, T chosen so that T (d/D)^2 stays near the post's."""
    print(f"{torch.get_num_threads()} threads, batches of 256 inputs, 5 layers, S = 6, float32")
    print(f"{'D':>6} {'T':>6} {'dense ms':>9} {'structured ms':>14} {'ratio':>6}")
    for D in (500, 1000, 2000):
        T = min(cisp.prime_steps_capacity(n=D // 4, S=6), 557 * D**2 // 1000**2)
        network = cisp.superpose(cisp.conditional_rotations(T=T), D=D, S=6)
        active, a0 = network.sample(batch=256, z=2)
        A0, dense = network.embed(a0, active), network.to_dense()
        times = []
        for function, x in ((dense, A0.flatten(1)), (network, A0)):
            with torch.no_grad():
                timer = Timer("function(x)", globals={"function": function, "x": x}, num_threads=2)
                times.append(timer.blocked_autorange(min_run_time=2).median * 1e3)
        print(f"{D:6d} {T:6d} {times[0]:9.1f} {times[1]:14.1f} {times[1] / times[0]:6.2f}")


if __name__ == "__main__":
    main()
