"""Exact CLUB against the sampled and the explicit all-pairs form: time, peak memory, agreement.

    python benchmarks/club.py [--clips 8000] [--dim 512] [--steps 1] [--pairs 400] [--repeats 7] [--threads 2]

The estimators are timed on a given Gaussian (mean and log-variance), without the network that makes it: that
is the part in which they differ. ``grad`` includes the backward pass to mean, log-variance and y. The
all-pairs form holds an N x N x d tensor and is run at ``--pairs`` clips, where that fits.
"""

import argparse
import statistics
import time

import torch

from srcid.model.mutual_information import Club


class Given(Club):
    """Club's estimators on a Gaussian that is known already: its "x" is mean and log-variance side by side."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.standardises = False

    def gaussian(self, x):
        return x.chunk(2, dim=-1)


def all_pairs(known, y):
    """CLUB by its definition: every log q(y_j|x_i), i and j over all clips of a step."""
    mu, logvar = known.chunk(2, dim=-1)
    precision = (-logvar).exp()
    own = ((mu - y).square() * precision).sum(-1)
    every = ((mu[:, None] - y[None]).square() * precision[:, None]).sum(-1)
    return (every.mean(dim=1) - own).mean() / 2


def peak_extra(call):
    """Largest number of bytes that ``call`` holds at once beyond its inputs, from the allocator's own
    events.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def alternate(calls, repeats):
    """Median seconds of each call, taken in turns, so that a busy neighbour slows all alike."""
    times = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}  # the first warms up


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (
        ("clips", 8000),
        ("dim", 512),
        ("steps", 1),
        ("pairs", 400),
        ("repeats", 7),
        ("threads", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    given, generator = Given(), torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")

    def draw(clips):
        """Mean and log-variance side by side, and y."""
        mu, logvar, y = torch.randn(3, clips, options.steps, options.dim, generator=generator)
        return [torch.cat([mu, 0.3 * logvar], dim=-1), y]

    def estimate(name, known, y):
        return given.estimate(known, y, None, estimator=name, generator=generator)

    def table(clips, forms):
        inputs = draw(clips)
        size = inputs[1].nbytes

        def forward(form):
            with torch.no_grad():
                return form(*inputs)

        def backward(form):
            leaves = [z.clone().requires_grad_() for z in inputs]
            form(*leaves).backward()

        plain = alternate({n: lambda f=f: forward(f) for n, f in forms.items()}, options.repeats)
        grad = alternate({n: lambda f=f: backward(f) for n, f in forms.items()}, options.repeats)
        print(f"\nN = {clips}, T = {options.steps}, d = {options.dim}: one feature array has {size / 2**20:.1f} MiB")
        print(f"{'form':<12}{'ms':>9}{'x sampled':>11}{'grad ms':>10}{'x sampled':>11}{'extra MiB':>11}{'arrays':>8}")
        extras = {}
        for name, form in forms.items():
            extras[name] = extra = peak_extra(lambda form=form: forward(form))
            print(
                f"{name:<12}{plain[name] * 1e3:>9.1f}{plain[name] / plain['sampled']:>11.2f}"
                f"{grad[name] * 1e3:>10.1f}"
                f"{grad[name] / grad['sampled']:>11.2f}{extra / 2**20:>11.1f}{extra / size:>8.1f}"
            )
        return inputs, plain["exact"] / plain["sampled"], grad["exact"] / grad["sampled"], extras["exact"] / size

    forms = {name: lambda *z, name=name: estimate(name, *z) for name in ("exact", "sampled", "published")}
    _, cost, cost_grad, arrays = table(options.clips, forms)
    _, _, _, fewer = table(options.clips // 4, forms)
    few = {"exact": forms["exact"], "sampled": forms["sampled"], "all pairs": all_pairs}
    inputs = table(options.pairs, few)[0]
    double = [z.double() for z in inputs]
    gap = abs(float(forms["exact"](*double) - all_pairs(*double)))
    print(f"\nexact against all pairs at N = {options.pairs}, float64: difference {gap:.1e} nats")
    print(
        f"exact at N = {options.clips}, d = {options.dim}: {cost:.2f} x sampled, {cost_grad:.2f} x with gradient "
        f"(aim: at most 1.3); "
        f"memory beyond the inputs {arrays:.1f} arrays of [N, d], {fewer:.1f} at N / 4 (equal: O(N d))"
    )


if __name__ == "__main__":
    main()
