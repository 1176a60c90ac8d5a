r"""Compute the features of the selected jets of one skim, for one kinematic shift or perturbation.

Reads the tree `Events` of a skim and writes a Parquet file with a row per selected jet: identity, split, weights,
four-momentum, substructure observables, constituents and Lund declusterings. docs/features.md describes the columns.

By hand:
  python -m lhcml.features.build_features --input results/skim/toptag/top/0.root --shift nominal \
      --config '{"jet": "FatJet", "radius": 0.8}' --output features.parquet
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lhcml.common.cli import Progress, json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError

if TYPE_CHECKING:
    from lhcml.features.read_skim import Jets

# Events read at once: a job takes about 0.8 GB with two jets of 60 constituents in each.
STEP_SIZE = 10_000


def jet_features(jets: Jets, radius: float, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the feature file for selected jets.

    `jet_pt`, `jet_eta`, `jet_phi`, `jet_mass` are the calibrated, shifted four-momentum of the skim, to which the
    constituents' relative kinematics refer; everything else is computed from the constituents.

    Parameters
    ----------
    jets : Jets
        Selected jets.
    radius : float
        Radius R0 of the jets.
    config : mapping
        Section `features` of the configuration.

    Returns
    -------
    dict of str to array
        Columns, NumPy or jagged; floats of 32 bits but for weights.
    """
    import awkward as ak
    import numpy as np

    from lhcml.common.identity import EVENT_IDENTITY
    from lhcml.common.split import split_events
    from lhcml.features.constituents import relative_kinematics
    from lhcml.features.substructure import LUND_VALUES, OBSERVABLES, jet_observables

    parts, counts = jets.parts, jets.counts
    soft_drop = config["soft_drop"]
    table, lund_counts, lund, parent, depth = jet_observables(
        counts, parts["pt"], parts["eta"], parts["phi"], parts["mass"],
        radius=radius, zcut=soft_drop["zcut"], beta=soft_drop["beta"],
    )  # fmt: skip
    single = {f"jet_{name}": values for name, values in jets.jets.items()}
    single |= dict(zip(OBSERVABLES, table.T, strict=True))
    jagged: dict[str, Any] = {f"part_{name}": parts[name] for name in ("pt", "eta", "phi", "mass")}
    jagged |= relative_kinematics(parts, jets.jets, counts)
    integers = {"part_charge": parts["charge"], "part_pdgId": parts["pdgId"]}
    return {
        **jets.ids,
        "jet_rank": jets.rank,
        "split": ak.Array(split_events(*(jets.ids[name] for name in EVENT_IDENTITY), fractions=config["split"])),
        **jets.weights,
        **{name: values.astype(np.float32) for name, values in single.items()},
        "jet_multiplicity": jets.all_counts,
        **{name: ak.unflatten(values.astype(np.float32), counts) for name, values in jagged.items()},
        **{name: ak.unflatten(values.astype(np.int32), counts) for name, values in integers.items()},
        **{name: ak.unflatten(lund[:, i].astype(np.float32), lund_counts) for i, name in enumerate(LUND_VALUES)},
        "lund_parent": ak.unflatten(parent.astype(np.int32), lund_counts),
        "lund_depth": ak.unflatten(depth.astype(np.int32), lund_counts),
        **({"jet_efp": flow_polynomials(jets, config["efp"])} if config["efp"]["degree"] else {}),
    }


def flow_polynomials(jets: Jets, settings: Mapping[str, Any]) -> Any:
    """Return the energy flow polynomials of `settings` (`degree`, `beta`), as many of 32 bits for each jet."""
    import awkward as ak
    import numpy as np

    from lhcml.features.energy_flow import energy_flow_polynomials

    pt, eta, phi, mass = (jets.parts[name].astype(np.float64) for name in ("pt", "eta", "phi", "mass"))
    rapidity = np.arcsinh(pt * np.sinh(eta) / np.hypot(pt, mass))
    values = energy_flow_polynomials(jets.counts, pt, rapidity, phi, degree=settings["degree"], beta=settings["beta"])
    return ak.from_numpy(values.astype(np.float32), regulararray=True)


def build_features(
    path: Path, shift: str, config: Mapping[str, Any], seed: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the feature columns of a skim step by step, after checking that every number is finite.

    Parameters
    ----------
    path : Path
        Skim.
    shift : str
        "nominal", a kinematic shift, or a perturbation ("smear", "drop") of the nominal jets.
    config : mapping
        Section `features` of the configuration, with `jet` (the collection) and `radius` of the channel.
    seed : int, optional
        Seed of a perturbation.

    Raises
    ------
    UserError
        If the skim cannot be read, lacks a branch, a feature is NaN or infinite, or a perturbation has no seed.
    """
    import numpy as np

    from lhcml.common.files import require_finite
    from lhcml.features.perturbations import PERTURBATIONS, perturb
    from lhcml.features.read_skim import open_events, read_jets

    change = None
    if shift in PERTURBATIONS:
        if seed is None:
            raise UserError(f"shift {shift} is random and has no seed", "give one with --seed")
        random = np.random.default_rng(seed)
        change = partial(perturb, shift=shift, settings=config["perturbations"][shift], random=random)
    collection = config["jet"]
    progress = Progress(open_events(path).num_entries, "events")
    steps = read_jets(
        path, collection, "nominal" if change else shift, puppi=collection in config["puppi_jets"],
        max_constituents=config["max_constituents"], step_size=STEP_SIZE, change=change,
    )  # fmt: skip
    for events, jets in steps:
        columns = jet_features(jets, config["radius"], config)
        for name, values in columns.items():
            if name not in ("split", "lund_parent", "lund_depth"):
                require_finite(f"feature {name}", values, str(path))
        progress.add(events)
        yield columns


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see the module's docstring."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", required=True, type=Path, help="skim (ROOT)")
    parser.add_argument("--shift", default="nominal", help="nominal, a kinematic shift of the skim, smear or drop")
    parser.add_argument("--seed", type=int, help="seed of smear and drop")
    parser.add_argument("--config", required=True, type=json_argument, help="features section with jet and radius")
    parser.add_argument("--output", required=True, type=Path, help="features (Parquet)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the kernels")
    arguments = parser.parse_args(argv)
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Compute and write the features."""
    import numba

    from lhcml.common.files import write_parquet_parts

    log = start_log("awkward", "uproot", "numba", "numpy", "pyarrow", seed=arguments.seed)
    numba.set_num_threads(min(arguments.threads, numba.config.NUMBA_NUM_THREADS))
    log.info("features of %s, shift %s", arguments.input, arguments.shift)
    rows = capped = empty = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal rows, capped, empty
        import awkward as ak
        import numpy as np

        for columns in build_features(arguments.input, arguments.shift, arguments.config, arguments.seed):
            kept = ak.to_numpy(ak.num(columns["part_pt"]))
            rows += len(kept)
            capped += int(np.count_nonzero(kept < columns["jet_multiplicity"]))
            empty += int(np.count_nonzero(kept == 0))
            yield columns

    write_parquet_parts(arguments.output, counted())
    log.info(
        "%d jets written; %d had more than %d constituents (the hardest are kept), %d had none (observables 0)",
        rows, capped, arguments.config["max_constituents"], empty,
    )  # fmt: skip


if __name__ == "__main__":
    run_main(main)
