"""Distributions that summaries of pseudo-experiments need, from the standard library alone."""

from __future__ import annotations

import math


def normal_distribution(value: float) -> float:
    """Return the cumulative standard normal distribution."""
    return 0.5 * math.erfc(-value / math.sqrt(2))


def chi_squared_survival(value: float, degrees: int) -> float:
    """Return the probability of a chi-squared above `value` (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if value <= 0:
        return 1.0
    odd = degrees % 2
    total = math.erfc(math.sqrt(value / 2)) if odd else 0.0
    # each two degrees more add (value / 2)^k exp(-value / 2) / Gamma(k + 1) with k = degrees / 2 - 1
    for twice in range(odd, degrees, 2):
        k = twice / 2
        total += math.exp(k * (math.log(value) - math.log(2)) - value / 2 - math.lgamma(k + 1))
    # odd degrees start at k = 1/2: the term of k = -1/2 is the error function above
    return min(1.0, total)


def chi_squared_density(value: float, degrees: int) -> float:
    """Return the density of chi-squared at a value above zero."""
    half = degrees / 2
    return math.exp((half - 1) * math.log(value) - value / 2 - half * math.log(2) - math.lgamma(half))


def kolmogorov_survival(value: float) -> float:
    """Return the probability of a larger distance of Kolmogorov, times the root of the count (asymptotic series)."""
    if value < 0.2:
        return 1.0  # to 1e-12, where the series converges slowly
    terms = [(-1.0) ** (k - 1) * math.exp(-2 * (k * value) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, 2 * sum(terms)))


def binomial_uncertainty(successes: int, count: int) -> float:
    """Return half the width of Wilson's interval of one standard deviation.

    Near the usual sqrt(p (1 - p) / n), and not zero where none or all succeed (Wilson, JASA 22 (1927) 209).
    """
    share = successes / count
    return math.sqrt(share * (1 - share) / count + 1 / (4 * count**2)) / (1 + 1 / count)


def q_tilde_signal(q: float, q_asimov: float) -> float:
    """Return the cumulative asymptotic distribution of q~ with that signal (arXiv:1007.1727, eq. 64, mu' = mu).

    Parameters
    ----------
    q : float
        Not negative.
    q_asimov : float
        q~ of Asimov data without signal, mu^2 / sigma^2.
    """
    # without sensitivity q~ is half a chi-squared at all strengths
    if q <= q_asimov or q_asimov <= 0:
        return normal_distribution(math.sqrt(q))
    return normal_distribution((q + q_asimov) / (2 * math.sqrt(q_asimov)))


def q_tilde_background(q: float, q_asimov: float) -> float:
    """Return the cumulative asymptotic distribution of q~ without signal (arXiv:1007.1727, eq. 64, mu' = 0)."""
    root = math.sqrt(max(q_asimov, 0.0))
    if root == 0:
        return normal_distribution(math.sqrt(q))
    return normal_distribution(math.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root))
