#!/usr/bin/env python3
"""Makes golden/significance.json: intervals, paired tests and adjusted p-values by SciPy and statsmodels,
on samples drawn here. Needs numpy, scipy and statsmodels; repeatable (the seeds are fixed).

    python golden/significance.py
"""

import json
import pathlib
import types
import warnings

import numpy as np
import scipy
import scipy.stats
import statsmodels
from statsmodels.stats.multitest import multipletests

ALTERNATIVES = {"two_sided": "two-sided", "greater": "greater", "less": "less"}
STATISTICS = {
    "mean": np.mean,
    "median": np.median,
    "standard_deviation": lambda values, axis=-1: np.std(values, ddof=1, axis=axis),
}
# Wilcoxon's distribution is exact up to this many differences that are not 0.
LARGEST_EXACT = 50
# Of SciPy, and of the test that is held to it.
RESAMPLES = 1_000_000
TEST_RESAMPLES = 99_999
# Standard errors of Monte Carlo that a test may be away by.
ERRORS = 4


def make_samples():
    """Differences between paired measurements, by name."""
    draw = np.random.default_rng(1945)
    samples = {}
    for n in (2, 3, 10, 25, 60, 200):
        samples[f"normal-{n}"] = draw.normal(0.3, 1, n)
    for n in (10, 25, 60, 200):
        samples[f"skewed-{n}"] = draw.exponential(1, n) - 0.8
    for n in (3, 10, 13, 25, 60, 200):
        samples[f"ties-{n}"] = draw.integers(-2, 4, n) / 4
    samples["zeros-60"] = np.where(draw.random(60) < 0.6, 0, draw.normal(0.5, 1, 60))
    samples["binary-60"] = (draw.random(60) < 0.2).astype(float)
    samples["near-equal-25"] = 1 + 1e-9 * draw.normal(0, 1, 25)
    samples["tiny-25"] = 1e-12 * draw.normal(0.3, 1, 25)
    samples["large-60"] = 1e12 * draw.normal(0.3, 1, 60)
    samples["far-from-zero-25"] = draw.normal(40, 1, 25)
    return samples


def t_intervals(samples):
    for name, values in samples.items():
        for level in (0.5, 0.95, 0.999):
            low, high = scipy.stats.t.interval(level, len(values) - 1, np.mean(values),
                                               scipy.stats.sem(values))
            yield {"sample": name, "level": level, "estimate": np.mean(values), "low": low,
                   "high": high}


def t_tests(samples):
    for name, values in samples.items():
        for ours, theirs in ALTERNATIVES.items():
            result = scipy.stats.ttest_1samp(values, 0, alternative=theirs)
            pairs = scipy.stats.ttest_rel(values, np.zeros_like(values), alternative=theirs)
            assert result.statistic == pairs.statistic and result.pvalue == pairs.pvalue
            yield {"sample": name, "alternative": ours, "statistic": result.statistic,
                   "p_value": result.pvalue}


def tosts(samples):
    for name, values in samples.items():
        for times in (0.5, 1.01, 3):
            margin = times * abs(np.mean(values))
            yield {"sample": name, "margin": margin, "p_value": max(
                scipy.stats.ttest_1samp(values, -margin, alternative="greater").pvalue,
                scipy.stats.ttest_1samp(values, margin, alternative="less").pvalue)}


def exact_with_ties(values, alternative):
    """The signed-rank test's p-value over all signs: the ranks' generating function, multiplied out.

    SciPy goes through the signs one by one, which it can for few differences only.
    """
    doubled = np.rint(2 * scipy.stats.rankdata(np.abs(values))).astype(int)
    chances = np.array([1.0])
    for rank in doubled:
        factor = np.zeros(rank + 1)
        factor[[0, rank]] = 0.5
        chances = np.convolve(chances, factor)
    positive = doubled[values > 0].sum()
    less, greater = chances[:positive + 1].sum(), chances[positive:].sum()
    return {"less": less, "greater": greater, "two-sided": min(1, 2 * min(less, greater))}[alternative]


def wilcoxon_method(values):
    """How the p-value of these differences, none of them 0, is computed; with SciPy's name for it."""
    if len(values) > LARGEST_EXACT:
        return "asymptotic", "asymptotic"
    if len(np.unique(np.abs(values))) == len(values):
        return "exact", "exact"
    if len(values) <= 13:
        return "exact with ties", scipy.stats.PermutationMethod(n_resamples=np.inf)
    return "exact with ties", None


def wilcoxons(samples):
    for name, values in samples.items():
        rest = values[values != 0]
        description, method = wilcoxon_method(rest)
        for ours, theirs in ALTERNATIVES.items():
            if method is None:
                p_value = exact_with_ties(rest, theirs)
            else:
                p_value = scipy.stats.wilcoxon(rest, zero_method="wilcox", correction=False,
                                               alternative=theirs, method=method).pvalue
            if description != "asymptotic":
                assert np.isclose(p_value, exact_with_ties(rest, theirs), rtol=1e-12, atol=0)
            # SciPy's two-sided statistic is the smaller of W+ and W-.
            positive = scipy.stats.wilcoxon(rest, alternative="greater", method="asymptotic").statistic
            yield {"sample": name, "alternative": ours, "method": description, "statistic": positive,
                   "p_value": p_value}


def holms():
    draw = np.random.default_rng(1979)
    families = [[0.03], [0.01, 0.01, 0.01, 0.01], [0.04, 0.01, 0.03, 0.005], [0, 0.2, 1, 1],
                [0.9, 0.8, 0.7], [1e-300, 0.05, 1e-10, 0.05, 0.04999999999]]
    families += [draw.beta(0.3, 1, size).tolist() for size in (2, 5, 12, 40)]
    for p_values in families:
        yield {"p_values": p_values,
               "adjusted": multipletests(p_values, method="holm")[1].tolist()}


def bootstrap(values, statistic, level, replicates):
    """SciPy's BCa interval from replicates that are given."""
    given = types.SimpleNamespace(bootstrap_distribution=replicates)
    result = scipy.stats.bootstrap((values,), STATISTICS[statistic], n_resamples=0, vectorized=True,
                                   confidence_level=level, method="BCa", bootstrap_result=given)
    return result.confidence_interval


def draw_replicates(values, statistic, count, draw):
    batches = []
    while count > 0:
        size = min(count, 20_000)
        batches.append(STATISTICS[statistic](draw.choice(values, (size, len(values))), axis=-1))
        count -= size
    return np.concatenate(batches)


def leave_one_out(values, statistic):
    return np.array([STATISTICS[statistic](np.delete(values, i)) for i in range(len(values))])


def bca_intervals(samples):
    """Intervals from a few replicates, which are part of the golden: no randomness is left."""
    draw = np.random.default_rng(1987)
    for name, statistic, count, level in [
            ("normal-2", "mean", 19, 0.95), ("normal-3", "mean", 40, 0.8),
            ("skewed-10", "mean", 199, 0.95), ("skewed-25", "standard_deviation", 199, 0.95),
            ("skewed-25", "mean", 200, 0.999), ("normal-10", "median", 199, 0.9),
            ("binary-60", "mean", 199, 0.95), ("tiny-25", "mean", 99, 0.95),
            ("large-60", "standard_deviation", 99, 0.95)]:
        values = samples[name]
        replicates = draw_replicates(values, statistic, count, draw)
        low, high = bootstrap(values, statistic, level, replicates)
        assert np.isfinite([low, high]).all(), name
        yield {"sample": name, "statistic": statistic, "level": level,
               "estimate": STATISTICS[statistic](values), "replicates": replicates.tolist(),
               "leave_one_out": leave_one_out(values, statistic).tolist(), "low": low, "high": high}


def bca_errors(proportion, acceleration, z, resamples):
    """The proportion of the replicates below a BCa end, and its standard error from drawing them.

    Of B replicates, the number below a fixed value is binomial. That moves the end in two ways. Its
    proportion p below the estimate, with the error sqrt(p (1 - p) / B), shifts the bias correction
    z0 = Phi^-1(p), hence the proportion alpha = Phi(z0 + (z0 + z) / (1 - a (z0 + z))) that is asked
    for, by the derivatives of both. And the quantile found at alpha is one of a proportion that is
    away from alpha with the error sqrt(alpha (1 - alpha) / B). Their sum bounds the error of both
    together, however they are correlated. The acceleration a involves no resamples.
    """
    normal = scipy.stats.norm
    z0 = normal.ppf(proportion)
    scale = 1 - acceleration * (z0 + z)
    end = z0 + (z0 + z) / scale
    alpha = normal.cdf(end)
    from_bias = (normal.pdf(end) * (1 + 1 / scale**2) / normal.pdf(z0)
                 * np.sqrt(proportion * (1 - proportion) / resamples))
    return alpha, from_bias + np.sqrt(alpha * (1 - alpha) / resamples)


def bootstraps(samples):
    """Between what an end must lie that other resamples give: see bca_errors.

    Errors are ones of proportions, which SciPy's replicates turn into values. Theirs count too.
    """
    draw = np.random.default_rng(1993)
    for name, statistic, level in [
            ("skewed-10", "mean", 0.95), ("skewed-25", "mean", 0.99),
            ("skewed-25", "standard_deviation", 0.95), ("normal-60", "median", 0.95),
            ("binary-60", "mean", 0.95), ("normal-200", "mean", 0.95)]:
        values = samples[name]
        estimate = STATISTICS[statistic](values)
        replicates = draw_replicates(values, statistic, RESAMPLES, draw)
        interval = bootstrap(values, statistic, level, replicates)
        proportion = ((replicates < estimate).mean() + (replicates <= estimate).mean()) / 2
        influence = np.mean(leave_one_out(values, statistic)) - leave_one_out(values, statistic)
        acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
        ends = {}
        for key, z, theirs, plain in [
                ("low", scipy.stats.norm.ppf((1 - level) / 2), interval.low, (1 - level) / 2),
                ("high", scipy.stats.norm.ppf((1 + level) / 2), interval.high, (1 + level) / 2)]:
            alpha, error = bca_errors(proportion, acceleration, z, TEST_RESAMPLES)
            error += bca_errors(proportion, acceleration, z, RESAMPLES)[1]
            assert np.isclose(np.quantile(replicates, alpha), theirs, rtol=1e-9)
            ends[key] = np.quantile(replicates, [alpha - ERRORS * error, alpha + ERRORS * error]).tolist()
            if name.startswith("skewed"):
                # The plain percentile interval would be found out.
                percentile = np.quantile(replicates, plain)
                assert not ends[key][0] <= percentile <= ends[key][1], (name, statistic, key)
        yield {"sample": name, "statistic": statistic, "level": level, "resamples": TEST_RESAMPLES,
               **ends}


def main():
    # That near-equal values lose digits is what their sample is for.
    warnings.filterwarnings("ignore", message="Precision loss occurred")
    samples = make_samples()
    golden = {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__,
                     "statsmodels": statsmodels.__version__},
        "samples": {name: values.tolist() for name, values in samples.items()},
        "t_interval": list(t_intervals(samples)),
        "paired_t_test": list(t_tests(samples)),
        "wilcoxon_signed_rank": list(wilcoxons(samples)),
        "paired_tost": list(tosts(samples)),
        "holm": list(holms()),
        "bca_interval": list(bca_intervals(samples)),
        "bootstrap_interval": list(bootstraps(samples)),
    }
    # A line a case.
    parts = []
    for key, part in golden.items():
        if isinstance(part, list):
            rows = ",\n".join("  " + json.dumps(row, allow_nan=False) for row in part)
            parts.append(f' "{key}": [\n{rows}\n ]')
        else:
            rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, allow_nan=False)}"
                              for name, value in part.items())
            parts.append(f' "{key}": {{\n{rows}\n }}')
    target = pathlib.Path(__file__).with_suffix(".json")
    target.write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
