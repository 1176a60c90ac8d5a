"""Shifts, truth matching, leptons and identification on hand-computed events, and their invariants."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.skim.constituents import particle_flow_charge
from lhcml.skim.jagged import pairs
from lhcml.skim.luminosity import luminosity_mask
from lhcml.skim.selection import jet_cuts, select_leptons, tight_jet_id, z_candidates
from lhcml.skim.systematics import (
    delta_phi,
    event_weights,
    hashed_normal,
    jet_factors,
    match_generated,
    resolution_factor,
    shifted_met,
)
from lhcml.skim.truth import hadronic_tops, holds_top, z_pt

JER = {"noise": 0.0, "stochastic": 1.0, "constant": 0.05, "scale": 1.0, "scale_up": 1.1, "scale_down": 0.9}
one = np.array([1])


def test_pairs_against_a_loop() -> None:
    first, second = np.array([2, 0, 1, 3]), np.array([1, 2, 0, 2])
    expected = [
        (sum(first[:event]) + a, sum(second[:event]) + b)
        for event in range(4)
        for a in range(first[event])
        for b in range(second[event])
    ]
    assert list(zip(*(part.tolist() for part in pairs(first, second)), strict=True)) == expected


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_delta_phi_is_an_angle_between(a: float, b: float) -> None:
    difference = delta_phi(a, b)
    assert -np.pi <= difference <= np.pi
    # e^(i x) is unchanged; rounding grows with the argument
    assert np.exp(1j * difference) == pytest.approx(np.exp(1j * (a - b)), abs=1e-12)


class TestResolution:
    def test_matched_jet_by_hand(self) -> None:
        pt, gen_pt = np.array([110.0]), np.array([100.0])
        # 100 + 1.1 * 10 = 111, 100 + 0.9 * 10 = 109
        for scale, expected in ((1.1, 111.0), (0.9, 109.0), (1.0, 110.0)):
            assert pt * resolution_factor(pt, gen_pt, np.zeros(1), scale, JER) == pytest.approx(expected)

    def test_unmatched_jet_by_hand(self) -> None:
        pt = np.array([400.0])
        # sigma = sqrt(1/400 + 0.05^2) = 0.0707107; sqrt(1.1^2 - 1) = 0.4582576; two sigma up
        factor = resolution_factor(pt, np.zeros(1), np.array([2.0]), 1.1, JER)
        assert factor == pytest.approx(1 + 2 * 0.0707107 * 0.4582576, rel=1e-6)
        # a resolution cannot be made better at random
        assert resolution_factor(pt, np.zeros(1), np.array([2.0]), 0.9, JER) == 1.0

    @given(st.floats(20, 2000), st.floats(0, 2000), st.floats(-5, 5))
    def test_scale_one_changes_nothing(self, pt: float, gen_pt: float, normal: float) -> None:
        assert resolution_factor(np.array([pt]), np.array([gen_pt]), np.array([normal]), 1.0, JER) == 1.0

    def test_width_is_scaled(self) -> None:
        rng = np.random.default_rng(1)
        size = 200_000
        gen_pt = np.full(size, 500.0)
        pt = gen_pt * rng.normal(1, 0.05, size)
        for scale in (0.9, 1.1):
            smeared = pt * resolution_factor(pt, gen_pt, np.zeros(size), scale, JER)
            # exact for matched jets: the same jets are moved
            assert smeared.std() == pytest.approx(scale * pt.std(), rel=1e-9)
        # unmatched: sigma^2 grows by s^2 - 1; relative error of a width 1/sqrt(2 n) = 0.16 %, five of them
        normal = hashed_normal([np.arange(size)], np.ones(size, int))
        factor = resolution_factor(gen_pt, np.zeros(size), normal, 1.3, JER)
        assert factor.std() == pytest.approx(np.sqrt((1 / 500 + 0.0025) * (1.3**2 - 1)), rel=0.008)

    def test_factor_is_never_negative(self) -> None:
        assert resolution_factor(np.array([30.0]), np.zeros(1), np.array([-60.0]), 2.0, JER) == 0.0

    def test_shifts_combine_with_the_nominal_scale(self) -> None:
        config = {"jes": 0.02, "jer": JER | {"scale": 1.05}}
        factors = jet_factors(np.array([110.0]), np.array([100.0]), np.zeros(1), config, ["jesUp", "jesDown", "jerUp"])
        nominal = (100 + 1.05 * 10) / 110
        assert factors["nominal"] == pytest.approx(nominal)
        assert factors["jesUp"] == pytest.approx(1.02 * nominal)
        assert factors["jesDown"] == pytest.approx(0.98 * nominal)
        assert factors["jerUp"] == pytest.approx(111 / 110)

    def test_matching_by_hand(self) -> None:
        jets = {
            "pt": np.array([500.0, 500.0, 500.0, 500.0]),
            "eta": np.array([0.0, 1.0, 2.0, 0.0]),
            "phi": np.array([np.pi - 0.05, 0.0, 0.0, 1.0]),
        }
        generated = {
            # nearest across the seam in phi; the nearer of two; too far in pT; none in the last event
            "pt": np.array([510.0, 490.0, 480.0, 100.0]),
            "eta": np.array([0.0, 1.1, 1.3, 2.0]),
            "phi": np.array([-np.pi + 0.05, 0.0, 0.0, 0.0]),
        }
        matched = match_generated(jets, np.array([3, 1]), generated, np.array([4, 0]), 0.8, JER)
        assert matched.tolist() == [510.0, 490.0, 0.0, 0.0]


class TestHashedNormal:
    def test_moments(self) -> None:
        normal = hashed_normal([np.ones(50_000), np.ones(50_000), np.arange(50_000)], np.full(50_000, 2))
        # 1e5 numbers: errors 1/sqrt(n) = 0.0032, 1/sqrt(2n) = 0.0022, of the correlation 1/sqrt(n/2); five each
        assert abs(normal.mean()) < 0.016
        assert abs(normal.std() - 1) < 0.011
        assert abs(np.corrcoef(normal[::2], normal[1::2])[0, 1]) < 0.023
        # beyond two sigma: 4.55 % with error 0.066 %
        assert np.mean(np.abs(normal) > 2) == pytest.approx(0.0455, abs=0.0033)

    @given(st.lists(st.integers(0, 2**63), min_size=2, max_size=9), st.data())
    def test_depends_on_identity_only(self, event: list[int], data: Any) -> None:
        numbers = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(event), max_size=len(event))))
        cut = data.draw(st.integers(0, len(event)))
        ids = np.array(event, np.uint64)
        whole = hashed_normal([ids], numbers)
        parts = [hashed_normal([ids[part]], numbers[part]) for part in (slice(cut), slice(cut, None))]
        assert np.array_equal(whole, np.concatenate(parts))
        assert np.isfinite(whole).all()


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(-4, 4), st.floats(0.5, 1.5)), max_size=5), st.floats(0, 200))
def test_met_balances_the_change_of_the_jets(jets: list[tuple[float, float, float]], met: float) -> None:
    pt, phi, factor = (np.array([jet[part] for jet in jets]) for part in range(3))
    owner = np.zeros(len(jets), int)
    new_pt, new_phi = shifted_met(np.array([met]), np.array([0.3]), pt, phi, factor, owner)
    before = met * np.exp(0.3j) + np.sum(pt * np.exp(1j * phi))
    after = (new_pt * np.exp(1j * new_phi))[0] + np.sum(factor * pt * np.exp(1j * phi))
    assert after == pytest.approx(before, abs=1e-9 * 3000)


def test_shower_weights_in_the_order_of_nanoaod() -> None:
    weights = event_weights(np.array([2.0]), np.array([[1.1, 1.2, 0.9, 0.8]]))
    expected = {"nominal": 2.0, "isrUp": 2.2, "fsrUp": 2.4, "isrDown": 1.8, "fsrDown": 1.6}
    assert {shift: value[0] for shift, value in weights.items()} == pytest.approx(expected)


class TestTop:
    # g, t, t (copy), b, W, W (copy), u, dbar, u after radiation, then a leptonic tbar: tbar, bbar, W-, e-, nubar
    PDG = (21, 6, 6, 5, 24, 24, 2, -1, 2, -6, -5, -24, 11, -12)
    MOTHER = (-1, 0, 1, 2, 2, 4, 5, 5, 6, 0, 9, 9, 11, 11)

    def particles(self, **changes: Any) -> tuple[dict[str, Any], Any]:
        eta = np.zeros(14)
        eta[2], eta[3], eta[6], eta[7] = 0.1, 0.5, -0.3, 0.2
        # the copy after radiation is elsewhere: the decay product counts
        eta[8] = 3.0
        record = {"pdgId": np.array(self.PDG), "genPartIdxMother": np.array(self.MOTHER)}
        record |= {"eta": eta, "phi": np.zeros(14)}
        return record | changes, np.array([14])

    def test_decay_by_hand(self) -> None:
        tops, numbers = hadronic_tops(*self.particles())
        assert numbers.tolist() == [1]
        assert tops["eta"].tolist() == [[0.1, 0.5, -0.3, 0.2]]

    def test_several_events(self) -> None:
        record, _ = self.particles()
        three = {name: np.concatenate([values, values[:1], values]) for name, values in record.items()}
        tops, numbers = hadronic_tops(three, np.array([14, 1, 14]))
        assert numbers.tolist() == [1, 0, 1]
        assert tops["eta"].tolist() == [[0.1, 0.5, -0.3, 0.2]] * 2

    def test_no_particles(self) -> None:
        record = {name: values[:0] for name, values in self.particles()[0].items()}
        tops, numbers = hadronic_tops(record, np.array([0, 0]))
        assert numbers.tolist() == [0, 0]
        assert tops["eta"].shape == (0, 4)

    @pytest.mark.parametrize(("eta", "inside"), [(0.1, True), (0.6, False), (-0.35, False)])
    def test_all_four_are_needed(self, eta: float, inside: bool) -> None:
        tops, numbers = hadronic_tops(*self.particles())
        # the b quark is at 0.5, a quark of the W at -0.3
        jets = {"eta": np.array([eta]), "phi": np.zeros(1)}
        assert holds_top(jets, one, tops, numbers, 0.8).tolist() == [inside]

    def test_hardest_z_of_each_event(self) -> None:
        last = 1 << 13
        record = {
            "pt": np.array([300.0, 250.0, 210.0, 400.0, 90.0]),
            "pdgId": np.array([23, 23, 23, 22, 23]),
            # a copy that is not the last does not count
            "statusFlags": np.array([0, last, last, last, last | 1]),
        }
        found = z_pt(record, np.array([3, 0, 1, 1]))
        assert found[[0, 3]].tolist() == [250.0, 90.0]
        assert np.isnan(found[[1, 2]]).all()

    def test_origins_agree_with_coffea(self, experiment_files) -> None:
        """The first ancestor of another kind, against the implementation in coffea, on a real record."""
        from coffea.nanoevents import NanoAODSchema, NanoEventsFactory

        from lhcml.skim.truth import origins

        class Schema(NanoAODSchema):  # type: ignore[misc]
            warn_missing_crossrefs = False

        factory = NanoEventsFactory.from_root(
            {str(experiment_files / "pfnano.root"): "Events"},
            mode="eager",
            schemaclass=Schema,
            iteritems_options={
                "filter_name": lambda name: (
                    name.startswith(("GenPart_", "nGenPart")) or name in ("run", "luminosityBlock", "event")
                )
            },
        )
        particles = factory.events().GenPart
        numbers = ak.to_numpy(ak.num(particles))
        begin = np.repeat(np.cumsum(numbers) - numbers, numbers)
        mother = ak.to_numpy(ak.flatten(particles.genPartIdxMother))
        found = origins(ak.to_numpy(ak.flatten(particles.pdgId)), np.where(mother >= 0, mother + begin, -1))
        expected = ak.to_numpy(ak.fill_none(ak.flatten(particles.distinctParent.pt), -1.0))
        pt = ak.to_numpy(ak.flatten(particles.pt))
        assert np.array_equal(np.where(found >= 0, pt[found], -1.0), expected)
        assert (found >= 0).sum() > 100


class TestLeptons:
    def test_z_mass_by_hand(self) -> None:
        # back to back and massless: 90 GeV; the pair of the first and third lepton has 2 sqrt(45 * 40) = 84.9 GeV
        leptons = {
            "pt": np.array([45.0, 45.0, 40.0]),
            "eta": np.zeros(3),
            "phi": np.array([0.0, np.pi, np.pi]),
            "mass": np.zeros(3),
            "charge": np.array([1.0, -1.0, -1.0]),
        }
        z = z_candidates(leptons, np.array([3]))
        assert z["mass"] == pytest.approx(90.0)
        assert z["pt"] == pytest.approx(0.0, abs=1e-12)

    def test_none_without_opposite_charges(self) -> None:
        leptons = {"pt": np.full(3, 45.0), "eta": np.zeros(3), "phi": np.arange(3.0), "mass": np.zeros(3)}
        z = z_candidates(leptons | {"charge": np.ones(3)}, np.array([2, 1, 0]))
        assert np.isnan(z["mass"]).all()
        assert len(z["mass"]) == 3

    @settings(max_examples=50)
    @given(st.floats(-2, 2), st.floats(-3, 3))
    def test_boost_and_rotation_keep_the_mass(self, boost: float, angle: float) -> None:
        base = {
            "pt": np.array([60.0, 35.0]),
            "eta": np.array([0.4, -0.7]),
            "phi": np.array([0.2, 2.6]),
            # massless, so that a longitudinal boost is a shift in pseudorapidity
            "mass": np.zeros(2),
            "charge": np.array([-1.0, 1.0]),
        }
        moved = base | {"eta": base["eta"] + boost, "phi": base["phi"] + angle}
        first, second = (z_candidates(leptons, np.array([2])) for leptons in (base, moved))
        assert second["mass"] == pytest.approx(first["mass"], rel=1e-9)
        assert second["pt"] == pytest.approx(first["pt"], rel=1e-9)
        # m^2 = 2 pt1 pt2 (cosh deta - cos dphi)
        assert first["mass"] ** 2 == pytest.approx(2 * 60 * 35 * (np.cosh(1.1) - np.cos(2.4)), rel=1e-9)

    def test_cuts_by_hand(self) -> None:
        columns = {
            "Muon_pt": ak.Array([[30.0, 9.0, 50.0], []]),
            "Muon_eta": ak.Array([[-2.5, 0.0, 1.0], []]),
            "Muon_phi": ak.Array([[0.0, 0.0, 0.0], []]),
            "Muon_charge": ak.Array([[1, 1, -1], []]),
            "Muon_cutBits": ak.Array([[6, 6, 7], []]),
        }
        cuts = {"pt": {"min": 10}, "abs_eta": {"max": 2.4}, "branches": {"cutBits": {"bits": 3}}}
        leptons, numbers = select_leptons(columns, "Muon", cuts)
        assert numbers.tolist() == [1, 0]
        assert leptons["pt"].tolist() == [50.0]
        assert select_leptons(columns, "Muon", cuts | {"branches": {"cutBits": {"max": 6}}})[1].tolist() == [0, 0]


class TestJets:
    JETS = {  # noqa: RUF012
        "pt": np.array([600.0, 640.0, 100.0, 560.0]),
        "eta": np.array([0.0, 1.9, 0.0, 2.1]),
        "phi": np.zeros(4),
        "mass": np.array([80.0, 170.0, 5.0, 90.0]),
    }
    NUMBERS = np.array([3, 0, 1])

    def cut(self, allowed: Any = None, holds: Any = None, **jets: Any) -> tuple[dict[str, list[bool]], list[int]]:
        block = {"candidates": {}, "count": {"min": 1}, "take": "leading"} | jets
        allowed = np.ones(4, bool) if allowed is None else np.array(allowed)
        masks, selected = jet_cuts(self.JETS, self.NUMBERS, allowed, {"jets": block}, holds)
        return {cut: mask.tolist() for cut, mask in masks.items()}, selected.tolist()

    def test_leading_is_hardest_not_first(self) -> None:
        masks, selected = self.cut(taken={"pt": {"min": 550, "max": 650}, "abs_eta": {"max": 2.0}})
        assert selected == [1, 3]
        assert masks == {"jets": [True, False, True], "taken jets": [True, True, False]}

    def test_all_are_ordered(self) -> None:
        assert self.cut(take="all")[1] == [1, 0, 2, 3]

    def test_two_leading(self) -> None:
        masks, selected = self.cut(take="two_leading", count={"min": 2}, leading={"mass": {"min": 100}})
        assert selected == [1, 0, 3]
        assert masks == {"jets": [True, False, False], "leading jet": [True, False, False]}

    def test_candidates_and_allowed(self) -> None:
        assert self.cut(allowed=[True, False, True, True], candidates={"pt": {"min": 90}})[1] == [0, 3]
        assert self.cut(candidates={"pt": {"max": 90}}) == ({"jets": [False] * 3}, [])

    def test_top_match(self) -> None:
        masks, selected = self.cut(holds=np.array([True, False, True, True]))
        assert selected == [3]
        assert masks["top match"] == [False, False, True]


def test_tight_identification_from_fractions() -> None:
    """The flag where there is one; else the criteria, with multiplicities whose sum overflows a byte."""
    columns = {
        "Jet_eta": ak.Array([[0.5, 0.5, 0.5, -2.65, 2.9, 4.0]]),
        "Jet_neHEF": ak.Array([[0.2, 0.995, 0.2, 0.95, 0.2, 0.2]]),
        "Jet_neEmEF": ak.Array([[0.2, 0.0, 0.2, 0.2, 0.99, 0.3]]),
        "Jet_chHEF": ak.Array([[0.5, 0.1, 0.0, 0.0, 0.0, 0.0]]),
        "Jet_chMultiplicity": ak.values_astype(ak.Array([[200, 9, 0, 0, 0, 0]]), np.uint8),
        "Jet_neMultiplicity": ak.values_astype(ak.Array([[57, 9, 9, 9, 9, 9]]), np.uint8),
    }
    assert tight_jet_id(columns, "Jet").tolist() == [True, False, False, False, True, True]
    flags = columns | {"Jet_jetId": ak.values_astype(ak.Array([[6, 2, 4, 0, 1, 7]]), np.uint8)}
    assert tight_jet_id(flags, "Jet").tolist() == [True, True, False, False, False, True]


def test_charge_of_candidates() -> None:
    pdg = ak.Array([[211, -211, 11, -11], [], [13, -13, 22, 130, 1, 2]])
    assert particle_flow_charge(pdg).tolist() == [[1, -1, -1, 1], [], [-1, 1, 0, 0, 0, 0]]


def test_luminosity_mask() -> None:
    golden = {1: np.array([[2, 3], [7, 7]])}
    run, block = np.array([1, 1, 1, 1, 1, 2]), np.array([1, 2, 3, 4, 7, 2])
    assert luminosity_mask(run, block, golden).tolist() == [False, True, True, False, True, False]
