"""Whole chunks of events, made with Pythia and read back."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory, PFNanoAODSchema

from lhcml.common.errors import UserError
from lhcml.samples import generate_events, plot_validation
from lhcml.samples.generate_events import Content, generate_chunk, read_content
from lhcml.samples.generator import VARIATIONS, cross_section, generate, read_batch, start_pythia
from lhcml.samples.processes import PROCESSES, find_process
from lhcml.samples.validation import chunk_pulls, profile, read_dataset

EVERYTHING = Content(collections=("FatJet", "Jet", "PFCands", "GenCands", "Lepton"))


def make(folder, name, process, content, events=150, seed=1, **numbers):
    path = folder / name / "0.root"
    generate_chunk(
        path, find_process(process), content, events=events, seed=seed, **({"first_event": 1, "block": 1} | numbers)
    )
    return path


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    return make(tmp_path_factory.mktemp("toptag"), "top", "toptag_top", Content(), events=300)


@pytest.fixture(scope="module")
def zjets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zjets")
    return make(folder, "nominal", "zjets", EVERYTHING, events=400, first_event=801, block=3)


def arrays(path):
    return uproot.open(path)["Events"].arrays()


def nano(path, schema):
    class Quiet(schema):
        warn_missing_crossrefs = False

    return NanoEventsFactory.from_root({str(path): "Events"}, schemaclass=Quiet, mode="virtual").events()


def test_files_hold_trees_not_rntuples(top):
    file = uproot.open(top)
    assert {name: file[name].classname for name in ("Events", "Runs")} == {"Events": "TTree", "Runs": "TTree"}


def test_event_numbers(zjets):
    events = arrays(zjets)
    assert events["event"].tolist() == list(range(801, 1201))
    assert set(events["luminosityBlock"].tolist()) == {3}
    assert set(events["run"].tolist()) == {1}


@pytest.mark.parametrize("schema", [NanoAODSchema, PFNanoAODSchema])
def test_coffea_reads_the_files(top, schema):
    events = nano(top, schema)
    assert len(events) == 300
    assert ak.all(events.GenPart.hasFlags(["isHardProcess"])[:, 0])
    matched = events.FatJet[:, :1].matched_gen
    assert ak.mean(ak.flatten(abs(matched.pt / events.FatJet[:, :1].pt - 1) < 0.3, axis=None)) > 0.95


def test_constituents_add_up_to_their_jets(top):
    jets = nano(top, PFNanoAODSchema).FatJet
    total = jets.constituents.pf.sum(axis=-1)
    # candidates are stored as float32
    assert ak.max(abs(total.pt / jets.pt - 1)) < 1e-4
    assert ak.max(abs(total.mass - jets.mass)) < 0.5
    assert ak.all(ak.num(jets.constituents.pf, axis=2) == jets.nConstituents)


def test_particle_level_constituents_add_up(zjets):
    events = nano(zjets, PFNanoAODSchema)
    links = events.GenJetCands
    assert ak.all(links.pFCandsIdx < ak.num(events.GenCands)[:, None])
    assert ak.all(links.jetIdx < ak.num(events.GenJet)[:, None])
    chosen = events.GenCands[links.pFCandsIdx]
    leading = links.jetIdx == 0
    px, py = (ak.sum((chosen.pt * f(chosen.phi))[leading], axis=1) for f in (np.cos, np.sin))
    some = ak.num(events.GenJet) > 0
    assert np.allclose(np.hypot(px, py)[some], events.GenJet.pt[some][:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("link", "target"),
    [("FatJet_genJetAK8Idx", "nGenJetAK8"), ("Jet_genJetIdx", "nGenJet"), ("FatJetPFCands_jetIdx", "nFatJet"),
     ("JetPFCands_jetIdx", "nJet"), ("JetPFCands_pFCandsIdx", "nPFCands"), ("FatJetPFCands_pFCandsIdx", "nPFCands"),
     ("GenPart_genPartIdxMother", "nGenPart")],
)  # fmt: skip
def test_links_point_into_their_event(zjets, link, target):
    events = arrays(zjets)
    assert ak.all(events[link] < events[target][:, None])
    assert ak.all(events[link] >= (0 if "PFCands" in link else -1))


def test_everything_is_finite_and_ordered(top, zjets):
    for path in (top, zjets):
        events = arrays(path)
        for name in events.fields:
            assert np.isfinite(ak.to_numpy(ak.flatten(events[name], axis=None))).all(), name
        for name in ("FatJet_pt", "GenJetAK8_pt", "PFCands_pt"):
            assert ak.all(events[name][:, :-1] >= events[name][:, 1:])


def test_stable_z_recoils_against_the_jet(zjets):
    events = arrays(zjets)
    boson = (events["GenPart_pdgId"] == 23) & (events["GenPart_status"] == 1)
    assert ak.all(ak.sum(boson, axis=1) == 1)
    z_pt = ak.to_numpy(ak.flatten(events["GenPart_pt"][boson]))
    # the Z is invisible: particle-level missing momentum is that of the Z, up to neutrinos of hadron decays
    assert np.median(abs(ak.to_numpy(events["GenMET_pt"]) / z_pt - 1)) < 0.02


def test_top_jets_have_the_mass_of_the_top(top):
    mass = ak.to_numpy(arrays(top)["FatJet_mass"][:, 0])
    # merged tops: the median is within a few GeV of 172.5; 300 jets of a width of 20 GeV have an error of 1.5 GeV
    assert 160 < np.median(mass) < 180


def test_response_closes(zjets):
    events = arrays(zjets)
    index = events["Jet_genJetIdx"][:, :1]
    good = (index >= 0) & (events["Jet_pt"][:, :1] > 100) & (abs(events["Jet_eta"][:, :1]) < 2.5)
    response = ak.to_numpy(ak.flatten(events["Jet_pt"][:, :1][good] / events["GenJet_pt"][index[good]]))
    # energy flow without pile-up is within 3 % of particle level; the resolution is a few per cent
    assert abs(np.median(response) - 1) < 0.03
    assert 0.01 < np.subtract(*np.quantile(response, [0.84, 0.16])) / 2 < 0.10


def test_shower_weights_average_to_one(zjets):
    weights = ak.to_numpy(arrays(zjets)["PSWeight"])
    assert weights.shape == (400, len(VARIATIONS))
    error = weights.std(axis=0) / np.sqrt(len(weights))
    # 5 standard errors of the sample itself; the tail of fsrUp makes its own error an underestimate, hence the floor
    assert (abs(weights.mean(axis=0) - 1) < np.maximum(5 * error, 0.15)).all()
    assert (weights > 0).all()
    runs = uproot.open(zjets)["Runs"].arrays()[0]
    assert runs["PSSumw"].tolist() == pytest.approx(weights.mean(axis=0).tolist(), rel=1e-5)


def test_more_radiation_is_up():
    record = read_batch(start_pythia(PROCESSES["toptag_qcd"].settings, 4, variations=True), 800)
    # particles made by final-state emissions of the shower
    emitted = np.bincount(record.event, abs(record.status) == 51)
    change = (record.variations.T @ emitted) / record.variations.sum(axis=0) / emitted.mean() - 1
    isr_up, fsr_up, isr_down, fsr_down = change
    # halving the scale of alpha_s adds emissions; measured with 5000 events: +3 %, +5 %, -2 %, -3 %
    assert isr_up > 0.01
    assert isr_down < -0.01
    assert fsr_down < 0
    assert fsr_up > fsr_down


def test_runs(zjets, top):
    runs = uproot.open(zjets)["Runs"].arrays()[0]
    assert (runs["genEventCount"], runs["genEventSumw"], runs["genEventSumw2"]) == (400, 400, 400)
    # vetoed events are not summed: by unitarity of the shower the sums of all events are equal
    assert uproot.open(top)["Runs"]["PSSumw"].array()[0].tolist() == [1, 1, 1, 1]


def test_cross_section_is_that_of_pythia(zjets):
    runs = uproot.open(zjets)["Runs"].arrays()[0]
    pythia = start_pythia(PROCESSES["zjets"].settings, 99)
    for _ in range(600):
        pythia.pythia.next()
    info = pythia.pythia.infoPython()
    error = np.hypot(1e9 * info.sigmaErr(), runs["crossSectionError"])
    assert abs(runs["crossSection"] - 1e9 * info.sigmaGen()) < 5 * error


def test_early_veto_keeps_the_cross_section_of_the_jets():
    """The cross section of jets well inside the range is the same with and without the veto."""
    settings = ["Beams:eCM = 14000.", "PartonLevel:MPI = off", "HardQCD:all = on", "PhaseSpace:pTHatMin = 450."]
    block = {"settings": settings, "variations": False}

    def section(generator, events):
        passed = 0
        for record in generate(generator, events, 500):
            particles = generate_events.visible_particles(record, generate_events.charges(generator, record.pdg_id))
            jets = generate_events.cluster(particles, events=record.size, radius=0.8, min_pt=100)
            passed += int(((jets.leading_pt > 560) & (jets.leading_pt < 660)).sum())
        share = passed / events
        total = cross_section(generator).value
        return total * share, total * np.sqrt(share * (1 - share) / events)

    open_value, open_error = section(start_pythia(find_process(block).settings, 1), 2000)
    veto = generate_events.JetRange(500, 740, 0.8)
    veto_value, veto_error = section(start_pythia(find_process(block).settings, 2, veto=veto), 700)
    # 4 standard errors of the two counts and 3 % of Pythia's cross sections
    assert abs(open_value - veto_value) < 4 * np.hypot(open_error, veto_error) + 0.03 * open_value


def test_same_seed_same_events(tmp_path):
    content = Content(collections=("FatJet", "Jet", "PFCands", "Lepton"))
    one, two, other = (
        make(tmp_path, name, "trigger_tt", content, 40, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert ak.array_equal(arrays(one), arrays(two))
    assert not ak.array_equal(arrays(one)["GenPart_pt"], arrays(other)["GenPart_pt"])


def test_lepton_filter_counts_all_events(tmp_path):
    path = make(tmp_path, "w", "trigger_w", Content(collections=("Jet", "Lepton")), events=100)
    file = uproot.open(path)
    assert file["Runs"]["genEventCount"].array()[0] == 100
    assert 0 < file["Events"].num_entries < 100
    events = arrays(path)
    # numbers are those of the generated events: gaps, and none twice
    assert len(set(events["event"].tolist())) == len(events)
    assert events["event"][-1] > len(events)
    assert events["PSWeight"].tolist() == [[1.0]] * len(events)
    assert "PSSumw" not in file["Runs"]


def test_a_chunk_without_accepted_events_is_still_a_file(tmp_path):
    block = {"process": "trigger_qcd", "min_lepton_pt": 4000.0}
    path = make(tmp_path, "none", block, Content(collections=("Jet", "Lepton")), events=20)
    assert uproot.open(path)["Events"].num_entries == 0
    assert "Muon_pt" in uproot.open(path)["Events"]


def test_resonance_masses(tmp_path):
    events = arrays(make(tmp_path, "r", "dijet_resonance", Content(fat_jet_radius=1.0), events=60))
    code = events["GenPart_pdgId"]
    first = events["GenPart_status"] == 22
    for number, mass, width in ((9900023, 3500, 200), (9000001, 500, 20), (9000002, 100, 10)):
        values = ak.to_numpy(ak.flatten(events["GenPart_mass"][(code == number) & first]))
        assert len(values) == 60
        assert abs(np.median(values) - mass) < width


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_processes_generate(name):
    # Vincia takes long to start on its own account; two events tell that the settings hold
    assert read_batch(start_pythia(PROCESSES[name].settings, 1), 2).size == 2


@pytest.mark.parametrize(
    "line", ["PhaseSpace:pTHatMim = 3", "Beams:eCM = fast", "PhaseSpace:pTHatMin = -5", "HardQCD:all"]
)
def test_refused_setting_is_told(line):
    with pytest.raises(UserError, match=r"refuses the setting") as caught:
        start_pythia(["Beams:eCM = 13000.", line], 1)
    assert line in str(caught.value)


def test_nothing_switched_on_is_told():
    with pytest.raises(UserError, match="cannot be initialised"):
        start_pythia(["Beams:eCM = 13000."], 1)


def test_find_process():
    lines = ["HardQCD:all = on"]
    assert find_process(lines).settings == tuple(lines)
    block = find_process({"process": "toptag_qcd", "settings": ["Tune:pp = 21"], "variations": False})
    assert block.settings[-1] == "Tune:pp = 21"
    assert (block.variations, block.leading_jet_pt) == (False, PROCESSES["toptag_qcd"].leading_jet_pt)
    with pytest.raises(UserError, match="unknown process 'toptag_tops'"):
        find_process("toptag_tops")
    with pytest.raises(UserError, match="neither"):
        find_process({"variations": False})


def test_read_content():
    assert read_content({}) == Content()
    assert read_content({"collections": ["Jet"], "fat_jet_radius": 1.0}) == Content(("Jet",), 1.0)


def test_failure_leaves_no_file(tmp_path):
    with pytest.raises(UserError):
        make(tmp_path, "bad", ["HardQCD:all = on", "Beams:eCM = -1"], Content())
    assert not list(tmp_path.rglob("*.root"))


def test_validation_plots(zjets, tmp_path):
    names = {name: tmp_path / f"{name}.png" for name in ("jets", "response", "weights")}
    plot_validation.main(
        ["--events", str(zjets), "--label", "14 TeV", *(f"--{name}={file}" for name, file in names.items())]
    )
    for file in names.values():
        assert file.stat().st_size > 10_000
        assert file.with_suffix(".pdf").exists()


def test_validation_names_a_damaged_file(tmp_path):
    (tmp_path / "0.root").write_bytes(b"root" * 10)
    with pytest.raises(UserError, match=r"0\.root"):
        read_dataset("x", [tmp_path / "0.root"])


def test_profile_of_a_normal_response():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 2, 40_000)
    median, width, median_error, width_error = profile(x, rng.normal(0.9, 0.09, len(x)), np.array([0.0, 1.0, 2.0, 3.0]))
    assert np.isnan(median[2])
    # 5 of the errors that the function states
    assert (abs(median[:2] - 0.9) < 5 * median_error[:2]).all()
    assert (abs(width[:2] - 0.1) < 5 * width_error[:2]).all()


def test_pulls_of_chunks(zjets):
    dataset = read_dataset("nominal", [zjets])
    assert len(chunk_pulls(dataset)) == 0
    twice = type(dataset)("x", None, np.array([10.0, 12.0]), np.array([0.6, 0.8]))
    # one against the other: 2 over the sum in quadrature, 1
    assert chunk_pulls(twice).tolist() == pytest.approx([-2, 2])
