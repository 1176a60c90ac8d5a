"""The skim against ROOT's RDataFrame: same file, same selection, same branches written.

The events of a small file are repeated to a large one. Three tasks on it, each as a process of its own with one thread:

- `cutflow`: leading jet with 550 < pT < 650 GeV and |eta| < 2; RDataFrame counts, the skim also writes the jets;
- `skim`: the same, both writing jets, weights and the renumbered candidates of the selected jet;
- `shifts`: the same with jet energy scale and resolution up and down and shower weights, for events that pass in any.

RDataFrame runs C++ functions written for exactly this selection, the skim its general selection. The wall time counts
the whole process with imports and just-in-time compilation; `loop` leaves out imports (RDataFrame compiles there).
Numbers of selected events must agree, or the benchmark fails.

    python benchmarks/skim_events.py --events results/samples/toptag/qcd/0.root --root-python ROOTENV/bin/python

ROOTENV is an environment with `root` (conda-forge or PyPI) and `numpy`; the benchmark itself runs in the environment of
envs/skim.yaml with PyYAML (or envs/test.yaml).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

SHIFTS = ["jesUp", "jesDown", "jerUp", "jerDown", "isrUp", "isrDown", "fsrUp", "fsrDown"]
CUTS = {"pt": {"min": 550, "max": 650}, "abs_eta": {"max": 2.0}}
JER = {"noise": 0.0, "stochastic": 0.8, "constant": 0.03, "scale": 1.0, "scale_up": 1.1, "scale_down": 0.9}

RDATAFRAME = r"""
import json, sys, time
begin = time.monotonic()
import ROOT

task, path, output = sys.argv[1:4]
ROOT.gInterpreter.Declare('''
using ROOT::RVecF; using ROOT::RVecI;
int leading(const RVecF& pt) { return pt.empty() ? -1 : int(ROOT::VecOps::ArgMax(pt)); }
bool passes(int jet, const RVecF& pt, const RVecF& eta) {
  return jet >= 0 && pt[jet] >= 550 && pt[jet] <= 650 && std::abs(eta[jet]) <= 2.0;
}
// generated jet within R/2 and three resolutions of each jet, 0 if none
RVecF matched(const RVecF& pt, const RVecF& eta, const RVecF& phi,
              const RVecF& gpt, const RVecF& geta, const RVecF& gphi) {
  RVecF found(pt.size(), 0.f);
  for (size_t i = 0; i < pt.size(); ++i) {
    float best = 0.4f;
    for (size_t j = 0; j < gpt.size(); ++j) {
      const float r = ROOT::VecOps::DeltaR(eta[i], geta[j], phi[i], gphi[j]);
      if (r < best) { best = r; found[i] = gpt[j]; }
    }
    const float sigma = std::sqrt(0.64f / pt[i] + 0.0009f);
    if (std::abs(pt[i] - found[i]) >= 3 * sigma * pt[i]) found[i] = 0;
  }
  return found;
}
// matched jets only: the random numbers of unmatched ones differ between the two programs, few pass the cuts
RVecF smeared(const RVecF& value, const RVecF& pt, const RVecF& gpt, float s) {
  RVecF result = value;
  for (size_t i = 0; i < pt.size(); ++i) if (gpt[i] > 0) result[i] *= 1 + (s - 1) * (pt[i] - gpt[i]) / pt[i];
  return result;
}
RVecI links(const RVecI& jetIdx, const RVecI& wanted) {
  RVecI kept;
  for (size_t i = 0; i < jetIdx.size(); ++i)
    for (int jet : wanted) if (jetIdx[i] == jet) { kept.push_back(i); break; }
  return kept;
}
RVecI candidates(const RVecI& index, const RVecI& kept) {
  RVecI used = ROOT::VecOps::Take(index, kept);
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  return used;
}
RVecI renumber(const RVecI& index, const RVecI& used) {
  RVecI result(index.size());
  for (size_t i = 0; i < index.size(); ++i)
    result[i] = std::lower_bound(used.begin(), used.end(), index[i]) - used.begin();
  return result;
}
RVecI one(int jet, bool pass) { return pass ? RVecI{jet} : RVecI{}; }
RVecI join(std::initializer_list<RVecI> lists) {
  RVecI result;
  for (auto& list : lists) for (int i : list)
    if (std::find(result.begin(), result.end(), i) == result.end()) result.push_back(i);
  return result;
}
''')
frame = ROOT.RDataFrame("Events", path)
total = frame.Count()
weight = frame.Sum("genWeight")
kinematic = ["nominal"]
if task == "shifts":
    inputs = ", ".join(f"{jets}_{part}" for jets in ("FatJet", "GenJetAK8") for part in ("pt", "eta", "phi"))
    frame = frame.Define("gen_pt", f"matched({inputs})")
    for part in ("pt", "mass"):
        for shift, factor in (("jesUp", "1.01f"), ("jesDown", "0.99f")):
            frame = frame.Define(f"FatJet_{part}_{shift}", f"FatJet_{part} * {factor}")
        for shift, scale in (("jerUp", "1.1f"), ("jerDown", "0.9f")):
            frame = frame.Define(f"FatJet_{part}_{shift}", f"smeared(FatJet_{part}, FatJet_pt, gen_pt, {scale})")
    kinematic += ["jesUp", "jesDown", "jerUp", "jerDown"]
    for position, shift in enumerate(("isrUp", "fsrUp", "isrDown", "fsrDown")):
        frame = frame.Define(f"weight_{shift}", f"double(genWeight) * PSWeight[{position}]")
counts = {}
for shift in kinematic:
    pt = "FatJet_pt" if shift == "nominal" else f"FatJet_pt_{shift}"
    frame = frame.Define(f"lead_{shift}", f"leading({pt})")
    frame = frame.Define(f"passes_{shift}", f"passes(lead_{shift}, {pt}, FatJet_eta)")
    frame = frame.Define(f"selectedJet_{shift}", f"one(lead_{shift}, passes_{shift})")
    counts[shift] = frame.Filter(f"passes_{shift}").Count()
columns = []
if task != "cutflow":
    kept = frame.Filter(" || ".join(f"passes_{shift}" for shift in kinematic))
    kept = kept.Define("wanted", "join({%s})" % ", ".join(f"selectedJet_{shift}" for shift in kinematic))
    kept = kept.Define("weight_nominal", "double(genWeight)").Define("link", "links(FatJetPFCands_jetIdx, wanted)")
    kept = kept.Define("used", "candidates(FatJetPFCands_pFCandsIdx, link)")
    kept = kept.Redefine("FatJetPFCands_pFCandsIdx", "renumber(Take(FatJetPFCands_pFCandsIdx, link), used)")
    kept = kept.Redefine("FatJetPFCands_jetIdx", "Take(FatJetPFCands_jetIdx, link)")
    for name in ("pt", "eta", "phi", "mass", "charge", "pdgId"):
        kept = kept.Redefine(f"PFCands_{name}", f"Take(PFCands_{name}, used)")
        columns.append(f"PFCands_{name}")
    columns += ["run", "luminosityBlock", "event", "genWeight", "weight_nominal"]
    columns += ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"]
    columns += [f"FatJet_{name}" for name in ("pt", "eta", "phi", "mass", "nConstituents", "genJetAK8Idx")]
    columns += [f"{what}_{shift}" for what in ("passes", "selectedJet") for shift in kinematic]
    if task == "shifts":
        columns += [f"weight_{shift}" for shift in ("isrUp", "fsrUp", "isrDown", "fsrDown")] + ["PSWeight"]
        columns += [f"FatJet_{part}_{shift}" for part in ("pt", "mass") for shift in kinematic[1:]]
        columns += [f"GenJetAK8_{name}" for name in ("pt", "eta", "phi")]
    options = ROOT.RDF.RSnapshotOptions()
    options.fLazy = True
    options.fCompressionAlgorithm = ROOT.RCompressionSetting.EAlgorithm.kZSTD
    options.fCompressionLevel = 3
    options.fVector2RVec = False
    handle = kept.Snapshot("Events", output, columns, options)
loop = time.monotonic()
weight.GetValue()
result = {shift: int(count.GetValue()) for shift, count in counts.items()}
print(json.dumps({"counts": result, "total": int(total.GetValue()), "loop": time.monotonic() - loop}))
"""

SKIM = r"""
import json, sys, time
from pathlib import Path
from lhcml.skim.skim_events import skim_file
import lhcml.skim.process_chunk, lhcml.skim.write_skim
path, output, config = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
loop = time.monotonic()
summary = skim_file(path, Path(output), dataset="benchmark", selection=config["selection"], config=config["skim"])
loop = time.monotonic() - loop
counts = {shift: rows[-1]["raw"] for shift, rows in summary["cutflow"].items() if shift not in summary["weight_shifts"]}
print(json.dumps({"counts": counts, "total": summary["events"], "loop": loop}))
"""


def repeat_events(source: Path, target: Path, number: int, compression: Any) -> None:
    """Write the events of a file again and again, with event numbers of their own.

    Each copy is a cluster of baskets: copies within a basket would compress as real events do not.
    """
    import awkward as ak
    import numpy as np
    import uproot

    with uproot.open(source) as file:
        arrays = file["Events"].arrays(how=dict)
    counters = {name for name in arrays if name.startswith("n") and any(k.startswith(name[1:] + "_") for k in arrays)}
    counters |= {"nPSWeight"}
    collections: dict[str, Any] = {}
    for name, values in arrays.items():
        collection, _, column = name.partition("_")
        if name in counters:
            continue
        if values.ndim == 2 and column:
            collections.setdefault(collection, {})[column] = values
        else:
            collections[name] = values
    branches = {name: ak.zip(part) if isinstance(part, dict) else part for name, part in collections.items()}
    length = len(branches["event"])
    written = 0
    with uproot.recreate(target, compression=compression) as file:
        tree = file.mktree("Events", {name: ak.type(values).content for name, values in branches.items()})
        while written < number:
            tree.extend(branches | {"event": np.arange(written + 1, written + 1 + length, dtype=np.uint64)})
            written += length


def run(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run a program; return its JSON with wall and CPU time of the whole process."""
    before, begin = os.times(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall, after = time.monotonic() - begin, os.times()
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result | {"wall": wall, "cpu": cpu}


def skim_config(task: str, step_size: int) -> dict[str, Any]:
    """Return the settings of the skim for a task."""
    import yaml

    from lhcml.common.configuration import fill_defaults

    selection: dict[str, Any] = {"jets": {"taken": CUTS}, "keep": {"constituents": task != "cutflow"}}
    if task == "shifts":
        selection["shifts"] = SHIFTS
    blocks = {"selection": selection, "skim": {"step_size": step_size, "jer": JER}}
    for name, block in blocks.items():
        schema = yaml.safe_load((ROOT / f"workflow/schemas/{name}.schema.yaml").read_text())
        blocks[name] = fill_defaults(block, schema)
    return blocks


def main() -> None:
    """Run the benchmark and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", required=True, type=Path, help="file whose events are repeated")
    parser.add_argument("--root-python", required=True, type=Path, help="Python of an environment with ROOT")
    parser.add_argument("--number", type=int, default=200_000, help="events of the large file")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program, medians are given")
    parser.add_argument("--step-size", type=int, default=20_000, help="events per chunk of the skim")
    args = parser.parse_args()
    import uproot

    base = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    own = base | {"PYTHONPATH": str(ROOT / "src")}
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "events.root"
        repeat_events(args.events, large, args.number, uproot.ZSTD(5))
        script = Path(folder) / "rdataframe.py"
        script.write_text(RDATAFRAME)
        print(
            f"{args.number} events, {large.stat().st_size / 1e6:.0f} MB (ZSTD), one thread, medians of {args.repeats}"
        )
        print(f"{'task':<9}{'':14}{'wall [s]':>10}{'CPU [s]':>10}{'loop [s]':>10}{'selected':>10}")
        for task in ("cutflow", "skim", "shifts"):
            medians = {}
            config = json.dumps(skim_config(task, args.step_size))
            commands = {
                "RDataFrame": [str(args.root_python), str(script), task, str(large), f"{folder}/rdataframe.root"],
                "lhcml": [sys.executable, "-c", SKIM, str(large), f"{folder}/lhcml.root", config],
            }
            results: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
            for _ in range(args.repeats):
                # alternating, so that a busy machine is busy for both
                for name, command in commands.items():
                    results[name].append(run(command, own if name == "lhcml" else base))
            for name, runs in results.items():
                medians[name] = {key: statistics.median(r[key] for r in runs) for key in ("wall", "cpu", "loop")}
                counts = runs[0]["counts"]
                print(f"{task:<9}{name:14}" + "".join(f"{medians[name][key]:10.2f}" for key in ("wall", "cpu", "loop"))
                      + f"{counts['nominal']:10d}")  # fmt: skip
            first, second = (runs[0]["counts"] for runs in results.values())
            # unmatched jets are smeared by lhcml alone: a per mille of the selected
            for shift in first:
                limit = 0.002 * first[shift] if shift == "jerUp" else 0
                if abs(first[shift] - second[shift]) > limit:
                    sys.exit(f"counts of {shift} differ: {first[shift]} and {second[shift]}")
            ratio = {key: medians["RDataFrame"][key] / medians["lhcml"][key] for key in ("wall", "cpu", "loop")}
            print(f"{'':9}{'ratio':14}" + "".join(f"{ratio[key]:10.2f}" for key in ("wall", "cpu", "loop")))


if __name__ == "__main__":
    main()
