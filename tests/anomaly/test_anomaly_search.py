"""Signal shapes, selection, scans and the whole search, on spectra whose truth is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, poisson

from lhcml.anomaly.bump_hunter import Windows, global_p, p_from_toys, to_p, to_z, upcrossings
from lhcml.anomaly.check_search import main as check_main
from lhcml.anomaly.check_search import test_uniformity as uniformity
from lhcml.anomaly.fit_spectrum import main as fit_main
from lhcml.anomaly.search_resonance import main
from lhcml.anomaly.selection import apply_selection, check_sculpting, jensen_shannon, select
from lhcml.anomaly.signal_shape import CrystalBall, fit_signal
from lhcml.anomaly.spectrum_search import local_significance, search_spectrum
from lhcml.common.cli import json_argument
from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json, write_parquet

SETTINGS: dict[str, Any] = {
    "bins": {"count": 24, "min": 2800, "max": 5200}, "sqrt_s": 13000, "functions": ["dijet3", "dijet4"],
    "f_test": 0.05, "efficiency": 0.05, "decorrelate": "none", "order": 2,
    "signal": {"shape": "simulation", "width": 0.03, "mass": 3500}, "toys": 100, "asymptotic_minimum": 10,
    "local_toys": 2000, "limit": False, "level": 0.05, "events_per_fb": 20,
}  # fmt: skip


def falling_masses(number: int, generator: np.random.Generator) -> np.ndarray:
    """Return masses of a dijet3 spectrum between 2800 and 5200 GeV."""
    grid = np.linspace(2800, 5200, 4801)
    x = grid / 13000
    total = np.cumsum((1 - x) ** 8 / x**5.5)
    return np.interp(generator.random(number), total / total[-1], grid)


def write_events(folder: Path, background: int, signal: int, seed: int = 1) -> None:
    """Write scores of a mixture in which the score of signal is 2 standard deviations higher, and signal apart."""
    generator = np.random.default_rng(seed)
    mass = np.concatenate([falling_masses(background, generator), generator.normal(3480, 120, signal)])
    raw = np.concatenate([generator.normal(size=background), generator.normal(2, 1, signal)])
    ranks = (np.argsort(np.argsort(raw)) + 0.5) / len(raw)
    label = np.concatenate([np.zeros(background), np.ones(signal)]).astype(np.int8)
    write_parquet(folder / "scores.parquet", {"dijet_mass": mass, "score": ranks, "label": label})
    apart = np.searchsorted(np.sort(raw), generator.normal(2, 1, 4000)) / len(raw)
    write_parquet(folder / "signal.parquet", {"dijet_mass": generator.normal(3480, 120, 4000), "score": apart})


def run(folder: Path, name: str = "search.json", method: str = "toy", **changes: Any) -> dict[str, Any]:
    import json

    main([
        "--scores", str(folder / "scores.parquet"), "--signal", str(folder / "signal.parquet"), "--window", "3300",
        "3700", "--config", json.dumps(SETTINGS | changes), "--method", method, "--mixture", "m", "--mixture-seed",
        "1", "--seed", "3", "--output", str(folder / name),
    ])  # fmt: skip
    result: dict[str, Any] = read_json(folder / name)
    return result


@given(st.floats(0.5, 3), st.floats(1.5, 9), st.floats(0.5, 3), st.floats(1.5, 9))
@settings(deadline=None, max_examples=15)
def test_crystal_ball_is_the_integral_of_its_density(a: float, n: float, b: float, k: float) -> None:
    shape = CrystalBall(3000, 100, a, n, b, k)

    def density(mass: float) -> float:
        t = (mass - 3000) / 100
        for alpha, power, far in ((a, n, -t), (b, k, t)):
            if far > alpha:
                return float((power / alpha) ** power * math.exp(-(alpha**2) / 2)
                             * (power / alpha - alpha + far) ** -power)  # fmt: skip
        return math.exp(-(t**2) / 2)

    shares = [quad(density, low, high, points=[3000 - 100 * a, 3000 + 100 * b])[0]
              for low, high in ((2000, 2900), (2900, 3050), (3050, 4500))]  # fmt: skip
    assert shape.template(np.array([2000, 2900, 3050, 4500])) == pytest.approx(np.array(shares) / sum(shares), rel=1e-6)


def test_without_tails_it_is_a_gaussian() -> None:
    mass = np.array([2800.0, 3000.0, 3150.0])
    assert CrystalBall(3000, 100).cumulative(mass) == pytest.approx(norm.cdf(mass, 3000, 100), abs=1e-12)


def test_the_shape_of_simulation_is_found() -> None:
    generator = np.random.default_rng(4)
    # a Gaussian with exponential smearing below: a low tail
    mass = generator.normal(3500, 100, 20000) - generator.exponential(60, 20000)
    edges = np.linspace(2800, 5200, 49)
    shape, quality = fit_signal(mass, edges)
    share = np.histogram(mass, edges)[0] / np.histogram(mass, edges)[0].sum()
    # the function is not that of the toy: agreement of the bins to a few per cent of the peak
    assert np.abs(shape.template(edges) - share).max() < 0.05 * share.max()
    assert quality["valid"]
    assert shape.moved(7000, 3500).mean == pytest.approx(2 * shape.mean)


def test_too_little_simulation_is_refused() -> None:
    with pytest.raises(UserError, match="shape"):
        fit_signal(np.full(20, 3500.0), np.linspace(2800, 5200, 49))


def test_windows_against_brute_force() -> None:
    generator = np.random.default_rng(2)
    expected = 50 * np.exp(-0.3 * np.arange(9.0))
    counts = generator.poisson(expected).astype(float)
    counts[3:5] += 12
    best = min(
        (float(poisson.sf(counts[i:j].sum() - 1, expected[i:j].sum())), i, j)
        for i in range(9) for j in range(i + 1, min(9, i + 4) + 1) if counts[i:j].sum() > expected[i:j].sum()
    )  # fmt: skip
    windows = Windows.of(9)
    where, least = windows.most_unlikely(counts[None], expected[None])
    assert (windows.begin[where[0]], windows.end[where[0]]) == best[1:]
    assert least[0] == pytest.approx(best[0], rel=1e-9)


def test_p_values_by_hand() -> None:
    assert p_from_toys(2.0, np.array([1.0, 2.0, 3.0])) == (3 / 4, 2)
    # rises through 1 once in the first row, twice in the second, starts above it in the third
    assert upcrossings(np.array([[0, 2, 2, 0], [0, 2, 0, 2], [2, 0, 0, 0.0]]), 1.0) == 1.0
    assert to_z(to_p(4.2)) == pytest.approx(4.2)


def test_global_p_value_of_independent_places() -> None:
    """Twenty independent places: p_global = 1 - (1 - p)^20, by toys where they reach, near it beyond."""
    toys = np.random.default_rng(6).normal(size=(4000, 20))
    near, far = global_p(2.0, toys), global_p(4.0, toys)
    exact = 1 - (1 - norm.sf([2.0, 4.0])) ** 20
    assert near["method"] == "toys"
    assert near["p"] == pytest.approx(exact[0], abs=4 * math.sqrt(exact[0] / 4000))
    # the formula holds for continuous scans, which independent places are not: a factor of 2 to 5 on the safe side
    assert far["method"] == "upcrossings"
    assert exact[1] < far["p"] < 10 * exact[1]


def test_local_significance_conventions() -> None:
    deficit = local_significance(-1.0, None)
    assert (deficit["z"], deficit["p"]) == (0.0, 0.5)
    assert deficit["p_signed"] == pytest.approx(norm.cdf(1.0))
    excess = local_significance(3.0, None)
    assert excess["p"] == excess["p_signed"] == pytest.approx(norm.sf(3.0))
    # toys twice as wide as the asymptotic distribution: a root of 3 is 1.5 sigma, and 10 is beyond them
    toys = 2 * np.random.default_rng(1).normal(size=20000)
    assert local_significance(3.0, toys)["z"] == pytest.approx(1.5, abs=0.05)
    far = local_significance(10.0, toys)
    assert far["method"] == "toys, extrapolated"
    assert 3.0 < far["z"] < 10.0


def test_quantile_regression_keeps_the_same_share_at_every_mass() -> None:
    generator = np.random.default_rng(5)
    mass = falling_masses(60000, generator)
    raw = generator.exponential(size=60000) * (1 + (mass - 2800) / 1000)
    score = (np.argsort(np.argsort(raw)) + 0.5) / 60000
    edges = np.quantile(mass, np.linspace(0, 1, 6))
    shares = {}
    for how in ("none", "quantile"):
        chosen, rule = select(score, mass, 0.02, decorrelate=how, order=2)
        assert (apply_selection(rule, score, mass) == chosen).all()
        kept, everything = (np.histogram(part, edges)[0] for part in (mass[chosen], mass))
        shares[how] = kept / everything
        # the whole share: 1200 events, 3 %
        assert chosen.mean() == pytest.approx(0.02, rel=0.1)
    # 240 events are kept in a fifth of the sample: 6 % each, four times that
    assert shares["none"].max() > 3 * shares["none"].min()
    assert shares["quantile"] == pytest.approx(0.02, rel=0.25)


def test_sculpting_is_seen() -> None:
    generator = np.random.default_rng(7)
    mass, edges = falling_masses(40000, generator), np.linspace(2800, 5200, 25)
    fair = generator.random(40000) < 0.02
    sculpted = generator.random(40000) < 0.02 * (1 + (mass - 3000) / 600)
    good, bad = (check_sculpting(mass, chosen, edges, (3300, 3700)) for chosen in (fair, sculpted))
    assert good["p_chi2"] > 1e-3
    assert good["p_ks"] > 1e-3
    assert good["jensen_shannon"] < 3 * good["jensen_shannon_expected"]
    assert bad["p_chi2"] < 1e-6
    assert bad["p_ks"] < 1e-6
    assert bad["jensen_shannon"] > 3 * bad["jensen_shannon_expected"]


def test_jensen_shannon_by_hand() -> None:
    assert jensen_shannon(np.array([1.0, 3.0]), np.array([10.0, 30.0])) == 0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)


def test_a_resonance_is_found(tmp_path: Path) -> None:
    write_events(tmp_path, 60000, 200)
    result = run(tmp_path)
    # the selected share of the signal, within three standard deviations
    fitted, error = result["signal"]["events"], result["signal"]["error"]
    assert abs(fitted - result["injected"]["selected"]) < 3 * error
    assert result["z_local"] > 3
    assert result["p_global"] > result["p_local"]
    assert result["injected"]["cross_section_fb"] == 10
    assert result["bump"]["window"][0] < 3500 < result["bump"]["window"][1]
    assert result["status"] == "ok"
    assert sum(result["spectrum"]["counts"]) == result["selected"] == pytest.approx(0.05 * 60200, rel=0.01)
    # the same seed, the same result
    assert run(tmp_path, "again.json") == result


def test_the_inclusive_search_keeps_all(tmp_path: Path) -> None:
    write_events(tmp_path, 20000, 100)
    result = run(tmp_path, method="inclusive", toys=0)
    assert result["selected"] == pytest.approx(20100, abs=5)
    assert result["efficiency"] == 1
    assert result["sculpting"] is None
    assert result["z_global"] is None


def test_few_events_work(tmp_path: Path) -> None:
    write_events(tmp_path, 1000, 5)
    result = run(tmp_path, efficiency=0.04, limit=True, asymptotic_minimum=20, toys=0)
    assert result["selected"] == 40
    assert result["local_method"].startswith("toys")
    assert result["background_fit"]["valid"]
    assert 0 < result["p_local"] <= 0.5
    limit = result["limit"]
    assert limit["expected"] == sorted(limit["expected"])
    assert result["limit_fb"]["observed"] == pytest.approx(limit["observed"] / 20 / result["signal_efficiency"])


def test_a_spectrum_that_no_function_describes_is_told() -> None:
    edges = np.linspace(2800, 5200, 49)
    counts = np.where((np.arange(48) > 9) & (np.arange(48) < 19), 0, 200 * np.exp(-np.arange(48) / 8)).round()
    result = search_spectrum(edges, counts, (3300.0, 3700.0), CrystalBall(3500, 120), SETTINGS, 1)
    assert "do not describe" in result["status"]


def test_collision_data_are_searched_without_simulated_signal(tmp_path: Path) -> None:
    write_events(tmp_path, 2000, 0)
    # what the mixture of collision data has in place of a simulation
    write_parquet(tmp_path / "signal.parquet", {"dijet_mass": np.zeros(0), "score": np.zeros(0)})
    result = run(tmp_path, signal={"shape": "generic", "width": 0.05})
    assert result["signal_efficiency"] is None
    assert result["z_local"] < 4
    with pytest.raises(UserError, match="no simulated signal"):
        run(tmp_path)


def test_an_empty_window_is_no_excess() -> None:
    edges, counts = np.linspace(2800, 5200, 49), np.zeros(48)
    counts[0] = 50
    result = search_spectrum(edges, counts, (3300.0, 3700.0), CrystalBall(3500, 120), SETTINGS, 1)
    assert result["z_local"] == result["z_global"] == 0
    assert result["p_local"] == 0.5


def test_bad_input_is_named(tmp_path: Path) -> None:
    write_events(tmp_path, 2000, 0)
    with pytest.raises(UserError, match="a fit needs"):
        run(tmp_path, efficiency=0.001)
    write_parquet(tmp_path / "scores.parquet", {"dijet_mass": np.full(100, 3000.0)})
    with pytest.raises(UserError, match="no column score"):
        run(tmp_path)
    write_parquet(tmp_path / "scores.parquet", {"dijet_mass": np.array([3000.0, np.nan]), "score": np.ones(2)})
    with pytest.raises(UserError, match="NaN"):
        run(tmp_path)


def test_a_spectrum_of_ones_own(tmp_path: Path) -> None:
    edges = np.linspace(2800, 5200, 25)
    counts = np.histogram(falling_masses(5000, np.random.default_rng(3)), edges)[0]
    lines = ["low,high,count", *(f"{a},{b},{n}" for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True))]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(tmp_path / "mine.json", {"edges": edges.tolist(), "counts": counts.tolist()})
    results = []
    for suffix in ("csv", "json"):
        output = tmp_path / f"fit_{suffix}.json"
        fit_main(["--spectrum", str(tmp_path / f"mine.{suffix}"), "--mass", "3500", "--config",
                  '{"toys": 100, "limit": false}', "--output", str(output)])  # fmt: skip
        results.append(read_json(output) | {"spectrum_file": ""})
    assert results[0] == results[1]
    assert results[0]["background_fit"]["p_value"] > 1e-3
    assert results[0]["spectrum"]["counts"] == counts.tolist()
    with pytest.raises(UserError, match="unknown keys"):
        fit_main(["--spectrum", str(tmp_path / "mine.csv"), "--config", '{"toy": 1}', "--output", "x.json"])
    (tmp_path / "mine.csv").write_text("low,high\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="low, high, count"):
        fit_main(["--spectrum", str(tmp_path / "mine.csv"), "--output", "x.json"])


def test_uniformity_by_hand() -> None:
    even = (np.arange(200) + 0.5) / 200
    result = uniformity(even)
    assert result["plateau"] == 0.5
    assert result["ks_p"] > 0.99
    assert result["below_5_percent"] == 0.05
    assert uniformity(even**2)["ks_p"] < 1e-6


def test_background_only_searches_are_uniform_and_unbiased(tmp_path: Path) -> None:
    write_events(tmp_path, 60000, 0)
    run(tmp_path, toys=0)
    config = str(SETTINGS).replace("'", '"').replace("False", "false")
    assert json_argument(config) == SETTINGS
    check_main(["--search", str(tmp_path / "search.json"), "--config", config, "--seed", "5", "--toys", "200",
                "--searches", "120", "--output", str(tmp_path / "check.json"), "--figure",
                str(tmp_path / "check.png")])  # fmt: skip
    result = read_json(tmp_path / "check.json")
    assert result["uniformity"]["ks_p"] > 1e-3
    assert result["uniformity"]["plateau_p"] > 1e-3
    own = [row for row in result["bias"] if row["truth"] == result["function"]]
    # 200 toys: mean to 0.07, width to 0.05; four times that
    assert all(abs(row["mean"]) < 0.28 and abs(row["std"] - 1) < 0.2 for row in own)
    assert (tmp_path / "check.pdf").stat().st_size > 1000
