r"""Test an unbinned method on the simulation alone: closure, stress, coverage of the bootstrap.

The simulated events are cut in two by a hash of their identity. One half is the simulation, the other the data, whose
truth is known:

- closure: the data as they are;
- stress: the data with weights 1 + slope * (x - mean) / standard deviation of one observable x at particle level, at
  least 0.1: another truth than the prior;
- coverage: the data cut into disjoint samples; the share of bins and samples in which the unfolded number of events is
  within the uncertainty of the expected one. The uncertainty is that of the bootstrap: Poisson replicas of the first
  sample, and of the simulation; the expected number, that of the other half, adds its own. Bins with fewer than ten
expected events are left out.

All of it is one unfolding of many replicas. Keys of the configuration: `method`, `observables`, `tests` (`observable`,
`slope`, `samples`, `replicas`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.common.hashing import hash_events, to_uniform
from lhcml.common.identity import EVENT_IDENTITY
from lhcml.common.seeds import derive_seed
from lhcml.unfolding.comparison import expected_discriminator
from lhcml.unfolding.definitions import bin_edges
from lhcml.unfolding.metrics import effective_sample_size, replica_covariance, triangular_discriminator
from lhcml.unfolding.omnifold import Events, Floats, unfold
from lhcml.unfolding.unfold_events import bootstrap_weights, column, make_ratios, read_events

LEAST_EXPECTED = 10.0
LEAST_WEIGHT = 0.1


def stress_weights(values: Floats, passed: NDArray[np.bool_], slope: float) -> Floats:
    """Return the weights of another truth, shape (events,); 1 for events that fail particle level."""
    true = values[passed]
    weights = np.ones(len(values))
    weights[passed] = np.maximum(1 + slope * (true - true.mean()) / true.std(), LEAST_WEIGHT)
    return weights


def coverage(samples: Floats, expected: Floats, uncertainty: Floats) -> dict[str, float | None]:
    """Return the share of samples and bins within the uncertainty of what is expected.

    Parameters
    ----------
    samples : ndarray
        Unfolded events, shape (samples, bins).
    expected, uncertainty : ndarray
        Expected number of events and its standard deviation, shape (bins,).

    Returns
    -------
    dict
        "coverage", None without bins; "error", its standard deviation over samples, whose bins go together; "bins" that
        were counted.
    """
    counted = (expected >= LEAST_EXPECTED) & (uncertainty > 0)
    within = np.abs(samples - expected)[:, counted] < uncertainty[counted]
    if not counted.any():
        return {"coverage": None, "error": None, "bins": 0}
    shares = within.mean(1)
    return {
        "coverage": float(shares.mean()),
        "error": float(shares.std(ddof=1) / np.sqrt(len(shares))),
        "bins": int(counted.sum()),
    }


def weigh_replicas(
    prior: Floats, data: Floats, stress: Floats, parts: Floats, drawn: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Return the weights of simulation and data of all replicas.

    In this order: closure, stress, the disjoint samples, Poisson replicas of the first sample, Poisson replicas of the
    simulation with the data of the first sample.

    Parameters
    ----------
    prior, data, stress : ndarray
        Weights of the simulation, of the data, and the stress weights of the data, shape (events,).
    parts : ndarray
        Weights of the data in the disjoint samples, shape (samples, events).
    drawn : pair of ndarray
        Bootstrap weights of simulation and data, shape (replicas, events).
    """
    of_simulation, of_data = drawn
    replicas = len(of_simulation)
    measured = np.concatenate([[data, data * stress], parts, parts[0] * of_data, np.tile(parts[0], (replicas, 1))])
    # the simulation has the normalisation of what it is compared with
    share = np.full(len(measured), 1 / len(parts))
    share[:2] = 1.0
    simulated = prior * share[:, None]
    simulated[-replicas:] *= of_simulation
    return simulated, measured


def judge(
    spectra: Floats, truths: Floats, variance: Floats, simulated: float, widths: Floats, samples: int, replicas: int
) -> dict[str, Any]:
    """Return the figures of one observable.

    Parameters
    ----------
    spectra : ndarray
        Unfolded events of all replicas of `weigh_replicas`, shape (R, bins), and before it the prior.
    truths : ndarray
        True spectra of closure and stress, shape (2, bins).
    variance : ndarray
        Variance of the former, shape (bins,).
    simulated : float
        Effective number of simulated events.
    widths : ndarray
        Widths of the bins.
    samples, replicas : int
        As in `weigh_replicas`.
    """
    prior, unfolded = spectra[0], spectra[1:]
    parts = unfolded[2 : 2 + samples]
    boot_data = unfolded[2 + samples : 2 + samples + replicas]
    boot_simulation = unfolded[2 + samples + replicas :]
    covariance = replica_covariance(boot_data) + replica_covariance(boot_simulation)
    expected = truths[0] / samples
    filled = int(np.count_nonzero((truths[0] > 0) | (prior > 0)))
    floor = expected_discriminator(filled, simulated, truths[0].sum() ** 2 / variance.sum())
    figures: dict[str, Any] = {}
    for name, spectrum, truth in (("closure", unfolded[0], truths[0]), ("stress", unfolded[1], truths[1])):
        figures[name] = {
            "triangular_e3": triangular_discriminator(spectrum, truth, widths),
            "before_e3": triangular_discriminator(prior, truth, widths),
            "floor_e3": floor,
        }
    # where the unfolding follows the simulation more than the data, the two halves fluctuate alike
    uncertainty = np.sqrt(np.diag(covariance) + variance / samples**2)
    figures["coverage"] = coverage(parts, expected, uncertainty)
    return figures | {"unfolded": unfolded[:2].tolist(), "truth": truths.tolist()}


def study(simulation: ak.Array, config: Mapping[str, Any], seed: int, threads: int) -> dict[str, Any]:
    """Return the figures of all observables.

    Raises
    ------
    UserError
        If there are too few events.
    """
    tests, method = config["tests"], config["method"]
    simulation = simulation[~simulation["background"]]
    identity = [column(simulation, name) for name in EVENT_IDENTITY]
    first = to_uniform(hash_events(*identity)) < 0.5
    here, there = simulation[first], simulation[~first]
    there = there[there["pass_gen"] | there["pass_reco"]]
    gen_there, reco_there = column(there, "pass_gen"), column(there, "pass_reco")
    samples, replicas = tests["samples"], tests["replicas"]
    if reco_there.sum() < 10 * samples:
        raise UserError(
            f"{int(reco_there.sum())} events are too few for {samples} samples", "make more, or set `unfolding.tests`"
        )
    # the hash halves the number of events, not exactly their weight
    weights = [column(part, "weight_nominal").astype(np.float64) for part in (here, there)]
    weights[0] *= weights[1].sum() / weights[0].sum()
    stress = stress_weights(column(there, f"gen_{tests['observable']}").astype(float), gen_there, tests["slope"])
    of_sample = np.random.default_rng(seed).permutation(len(there)) % samples
    parts = weights[1] * (of_sample == np.arange(samples)[:, None])
    drawn = bootstrap_weights("simulation", replicas, here, seed), bootstrap_weights("data", replicas, there, seed)
    prior, measured = weigh_replicas(weights[0], weights[1], stress, parts, drawn)
    measured = measured[:, reco_there]
    gen = column(here, "pass_gen")
    events = Events(gen, column(here, "pass_reco"), np.zeros(len(here), bool), prior, measured)
    seeds = [derive_seed(seed, str(replica)) for replica in range(len(prior))]
    data = there[reco_there]
    names = list(method.get("observables", config["observables"]))
    tasks = [[name] for name in names] if method["family"] == "unifold" else [names]
    size = float(effective_sample_size(weights[0][gen]))
    figures = {}
    for inputs in tasks:
        ratios = make_ratios(method, inputs, here, data, "", seeds, threads)
        result = unfold(events, ratios, method["iterations"], largest_ratio=method["largest_ratio"])
        unfolded = prior[:, gen] * result.push
        for name in inputs if method["family"] == "unifold" else config["observables"]:
            edges = bin_edges(config["observables"][name])
            values = column(here, f"gen_{name}")[gen]
            spectra = [np.histogram(values, edges, weights=row)[0] for row in (prior[0, gen], *unfolded)]
            true = column(there, f"gen_{name}")[gen_there]
            truths = [
                np.histogram(true, edges, weights=(weights[1] * factor)[gen_there])[0]
                for factor in (np.ones(len(there)), stress)
            ]
            variance = np.histogram(true, edges, weights=weights[1][gen_there] ** 2)[0]
            figures[name] = judge(
                np.array(spectra), np.array(truths), variance, size, np.diff(edges), samples, replicas
            )
            figures[name]["edges"] = edges
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Test one method."""
    parser = make_parser(__doc__)
    parser.add_argument("--simulation", required=True, type=Path, help="simulated events of collect_events")
    parser.add_argument("--config", required=True, type=json_argument, help="JSON, see above")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", required=True, type=Path, help="closure.json to write")
    args = parser.parse_args(argv)
    log = start_log("torch", "xgboost", "awkward", "numpy", seed=args.seed)
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    figures = study(read_events(args.simulation, args.config["method"]), args.config, args.seed, args.threads)
    for name, row in figures.items():
        log.info(
            "%s: closure %.2f, stress %.2f (before %.2f), coverage %s", name, row["closure"]["triangular_e3"],
            row["stress"]["triangular_e3"], row["stress"]["before_e3"], row["coverage"],
        )  # fmt: skip
    write_json(args.output, {"tests": args.config["tests"], "observables": figures})


if __name__ == "__main__":
    run_main(main)
