"""The cost model and the schedule, on jobs whose costs are known."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.report.cost_model import fit_base, fit_costs, fit_slope
from lhcml.report.costs import Cost, Job, file_sizes, in_order, logged_cost, predict_costs, processor_time
from lhcml.report.schedule import elapsed_time

MAKE = Job("make", "samples", "top", "a.yaml", 1, (), ("top/0.root",), 100.0, 1.0, "b.tsv", "b.log")
READ = Job("read", "skim", "top", "a.yaml", 1, ("top/0.root",), ("top/0.parquet",), None, 1.0, "b.tsv", "b.log")
TRAIN = Job(
    "train", "taggers", "", "b.yaml", 2, ("top/0.parquet", "qcd/0.parquet"), ("m.json",), None, 5.0, "b.tsv", "b.log"
)


@settings(deadline=None)
@given(base=st.floats(0.5, 20), slopes=st.lists(st.floats(0.01, 10), min_size=1, max_size=3), sizes=st.floats(2, 100))
def test_a_line_is_found_again(base: float, slopes: list[float], sizes: float) -> None:
    points = {str(k): [(x, base + slope * x) for x in (1.0, sizes)] for k, slope in enumerate(slopes)}
    fitted = fit_base(points, floor=0.0)
    # relative errors: what is left of a base beside the cheapest job is lost in rounding
    assert fitted == pytest.approx(base, rel=1e-6, abs=1e-9)
    assert fit_slope(points["0"], fitted) == pytest.approx(slopes[0], rel=1e-6)


def test_variants_of_one_size_each_share_a_slope() -> None:
    assert fit_base({"a": [(1.0, 12.0)], "b": [(10.0, 30.0)]}, floor=0.0) == pytest.approx(10.0)


def test_without_a_spread_of_sizes_the_floor_is_the_base() -> None:
    points = {"a": [(10.0, 30.0), (11.0, 32.0)]}
    assert fit_base(points, floor=4.0) == 4.0
    # but no more than the cheapest job took
    assert fit_base(points, floor=50.0) == 30.0


def test_jobs_that_read_no_events_cost_the_same_always() -> None:
    assert fit_base({"a": [(0.0, 3.0), (0.0, 5.0)]}, floor=1.0) == 4.0
    assert fit_slope([(0.0, 3.0), (0.0, 5.0)], 4.0) == 0.0


def test_one_job_that_compiles_does_not_count() -> None:
    assert fit_slope([(1.0, 3.0), (1.0, 3.0), (1.0, 30.0), (0.1, 1.2)], base=1.0) == 2.0
    assert fit_slope([], base=1.0) == 0.0


def test_a_cost_that_falls_with_the_size_is_flat() -> None:
    points = [(1.0, 5.0), (10.0, 4.0)]
    base = fit_base({"a": points}, floor=0.0)
    assert base == 4.0
    assert fit_slope(points, base) >= 0.0


def chain(events: float, passes: float) -> list[Job]:
    """Return jobs that make two files, read them, and train on both; listed backwards."""
    jobs = []
    for name in ("top", "qcd"):
        jobs.append(replace(MAKE, variant=name, outputs=(f"{name}/0.root",), events=events))
        jobs.append(replace(READ, variant=name, inputs=(f"{name}/0.root",), outputs=(f"{name}/0.parquet",)))
    return [replace(TRAIN, passes=passes), *reversed(jobs)]


def measured(events: float, passes: float) -> list[tuple[Job, float, Cost]]:
    """Return the jobs of the chain with sizes and costs by hand."""
    entries = []
    for job in chain(events, passes):
        if job.rule == "make":
            # top takes twice the time of qcd; 20 kB an event
            slope = 0.02 if job.variant == "top" else 0.01
            entries.append((job, events, Cost(2 + slope * events, 200, 0.02 * events, 0)))
        elif job.rule == "read":
            size = 0.02 * events
            entries.append((job, size, Cost(3 + 0.5 * size, 300, 0.1 * size, 0.5)))
        else:
            size = 2 * 0.1 * 0.02 * events
            cost = Cost(5 + 0.1 * size * passes, 400 + 3 * size, 0, 1.5)
            entries.append((job, size, cost))
    return entries


def test_a_run_of_ten_times_the_events_is_predicted_exactly() -> None:
    model = fit_costs([*measured(1000, 5), *measured(100, 10)])
    assert model["make"]["largest_size"] == 1000
    assert model["make"]["base"]["cpu_seconds"] == pytest.approx(2)
    assert model["make"]["variants"]["top"]["cpu_seconds"] == pytest.approx(0.02)
    predicted = {(job.rule, job.variant): (size, cost) for job, size, cost in predict_costs(chain(1e4, 20), model, {})}
    for job, size, cost in measured(1e4, 20):
        found_size, found = predicted[job.rule, job.variant]
        assert found_size == pytest.approx(size)
        assert found is not None
        for name in ("cpu_seconds", "memory_mb", "table_mb", "other_mb"):
            assert getattr(found, name) == pytest.approx(getattr(cost, name), rel=1e-6, abs=1e-6), (job, name)


def test_an_unknown_variant_costs_what_its_rule_does_and_an_unknown_rule_nothing_known() -> None:
    model = fit_costs(measured(1000, 5))
    other, new = replace(MAKE, variant="zjets", events=1000.0), replace(MAKE, rule="new", outputs=("x",))
    (_, _, cost), (_, _, none) = predict_costs([other, new], model, {})
    # the mean of 22 s and 12 s
    assert cost is not None
    assert cost.cpu_seconds == pytest.approx(17)
    assert none is None


def test_a_variant_whose_jobs_did_little_is_bounded_by_what_they_took() -> None:
    # 20 kB an event; of another kind 1000 events are no more than the empty file: from 0 to 60 bytes an event
    large = [(replace(MAKE, variant="top"), size, Cost(2.0, 200, 0.05 + 0.02 * size, 0)) for size in (1000.0, 100.0)]
    little = (replace(MAKE, variant="lepton"), 1000.0, Cost(2.0, 200, 0.06, 0))
    model = fit_costs([*large, little])
    assert model["make"]["base"]["table_mb"] == pytest.approx(0.05)
    assert model["make"]["variants"]["top"]["table_mb"] == pytest.approx(0.02)
    assert model["make"]["variants"]["lepton"]["table_mb"] == pytest.approx(60e-6)
    # a training on little, however often: that of its rule
    trained = [(replace(TRAIN, variant="jets"), size, Cost(5 + 0.1 * size * 5, 400, 0, 1)) for size in (100.0, 10.0)]
    tiny = (replace(TRAIN, variant="vae", passes=100.0), 0.02, Cost(5 + 6, 400, 0, 1))
    variants = fit_costs([*trained, tiny])["train"]["variants"]
    assert variants["jets"]["cpu_seconds"] == pytest.approx(0.1)
    # mean by size: 0.1 of 550 MB and 3 of 2 MB
    assert variants["vae"]["cpu_seconds"] == pytest.approx((0.1 * 550 + 3 * 2) / 552, rel=1e-6)


def test_figures_and_samples_measured_in_one_size_are_flat() -> None:
    def drawn(name: str, size: float, seconds: float) -> tuple[Job, float, Cost]:
        return replace(READ, rule="plot_scores", variant=name), size, Cost(seconds, 300, 0, 0.1)

    one_size = [drawn("pfn", 1.0, 3.0), drawn("pfn", 1.1, 5.0), drawn("cnn", 4.0, 4.0)]
    entry = fit_costs(one_size)["plot_scores"]
    assert entry["base"]["cpu_seconds"] == pytest.approx(4.0)
    assert {slopes["cpu_seconds"] for slopes in entry["variants"].values()} == {0.0}
    # two sizes of one kind tell: 3 s and 0.5 s a MB
    entry = fit_costs([drawn("pfn", 2.0, 4.0), drawn("pfn", 20.0, 13.0)])["plot_scores"]
    assert entry["base"]["cpu_seconds"] == pytest.approx(3.0)
    assert entry["variants"]["pfn"]["cpu_seconds"] == pytest.approx(0.5)


def test_one_small_run_is_told_apart_by_what_other_runs_found() -> None:
    known = fit_costs([*measured(1000, 5), *measured(100, 10)])
    # a machine of half the speed, and a training that takes four times as much for what it reads
    small = []
    for job, size, cost in measured(100, 5):
        seconds = cost.cpu_seconds + (3 * 0.1 * size * job.passes if job.rule == "train" else 0.0)
        small.append((job, size, replace(cost, cpu_seconds=2 * seconds)))
    model = fit_costs(small, known)
    predicted = {(job.rule, job.variant): cost for job, _, cost in predict_costs(chain(1000, 5), model, {})}
    for job, _, cost in measured(1000, 5):
        found = predicted[job.rule, job.variant]
        assert found is not None
        if job.rule != "train":
            assert found.cpu_seconds == pytest.approx(2 * cost.cpu_seconds)
            assert found.table_mb == pytest.approx(cost.table_mb)
    # 0.4 MB took 2 * (5 + 0.8) s, less than twice the start, and tell nothing of the work: known are 2 * 2 s for 4 MB
    train = predicted["train", ""]
    assert train is not None
    assert train.cpu_seconds == pytest.approx(2 * (5 + 2))
    # what was not measured here is known from there, for this machine
    other = fit_costs([entry for entry in small if entry[0].rule != "read"], known)
    assert other["read"]["base"]["cpu_seconds"] == pytest.approx(2 * 3)
    assert other["read"]["variants"]["top"]["cpu_seconds"] == pytest.approx(2 * 0.5)


def test_a_rule_that_reads_step_by_step_holds_no_less_than_was_ever_measured() -> None:
    def skimmed(memory: float) -> tuple[Job, float, Cost]:
        return replace(READ, rule="skim_events"), 10.0, Cost(3.0, memory, 1.0, 0.0)

    known = fit_costs([skimmed(546.0)])
    for own, base in ((247.0, 546.0), (657.0, 657.0)):
        assert fit_costs([skimmed(own)], known)["skim_events"]["base"]["memory_mb"] == base


def test_a_kind_whose_only_job_compiled_costs_what_the_others_do() -> None:
    def built(name: str, seconds: float, written: float) -> tuple[Job, float, Cost]:
        return replace(READ, rule="build_features", variant=name), 10.0, Cost(seconds, 300, written, 0)

    entries = [built("top", 3.0, 20.0), built("top", 3.0, 20.0), built("qcd", 1.0, 10.0), built("dijet", 30.0, 5.0)]
    variants = fit_costs(entries)["build_features"]["variants"]
    assert {slopes["cpu_seconds"] for slopes in variants.values()} == {0.2}
    # what they write is their own
    assert [variants[name]["table_mb"] for name in ("top", "qcd", "dijet")] == pytest.approx([2.0, 1.0, 0.5])
    alone = [(replace(job, rule="train"), size, cost) for job, size, cost in entries]
    assert fit_costs(alone)["train"]["variants"]["dijet"]["cpu_seconds"] == pytest.approx(2.9)


def test_files_of_the_user_have_their_size() -> None:
    model = fit_costs(measured(1000, 5))
    ((_, size, _),) = predict_costs([replace(READ, inputs=("mine.root", "no.json"))], model, {"mine.root": 800.0})
    assert size == 800.0


def test_jobs_come_after_those_whose_files_they_read() -> None:
    ordered = in_order(chain(100, 1))
    assert ordered[-1].rule == "train"
    assert [job.rule for job in ordered].count("make") == 2
    assert ordered.index(next(job for job in ordered if job.rule == "make")) < 2


def test_a_job_ends_its_log_with_its_cost(root: Path, python: str) -> None:
    program = (
        "import time\nfrom lhcml.common.cli import run_main, start_log\n"
        "def main(argv):\n start_log()\n held = b'x' * 200_000_000\n end = time.process_time() + 1\n"
        " while time.process_time() < end: pass\nrun_main(main)\n"
    )
    done = subprocess.run(
        [python, "-c", program], env={"PYTHONPATH": str(root / "src")}, capture_output=True, text=True, check=True
    )
    found = logged_cost(done.stderr)
    assert found is not None
    # a second of work and 200 MB, beside the start of Python
    assert 1 < found[0] < 3
    assert 200 < found[1] < 300
    # the programs of one rule one after the other
    both = logged_cost(done.stderr + "12:00:00 cost: 10.00 s of processor time, 20.0 MB\n")
    assert both == (pytest.approx(found[0] + 10), found[1])
    assert logged_cost("12:00:00 nothing\n") is None


def test_processor_time_after_the_last_sample() -> None:
    # 3.8 s seen until 9.5 s of 9.75 s
    assert processor_time(9.75, 3.8, 1) == pytest.approx(3.9)
    # the last of the samples each 30 s is at 45.5 s
    assert processor_time(60, 45.5, 1) == pytest.approx(60)
    assert processor_time(60, 22.75, 1) == pytest.approx(30)
    # no more than there is
    assert processor_time(40, 30, 1) == 40
    assert processor_time(40, 30, 2) == pytest.approx(30 * 40 / 15.5)
    # ended before the first sample
    assert processor_time(0.3, 0.0, 1) == 0.3


def test_tables_and_other_files_are_told_apart(tmp_path: Path) -> None:
    for name, count in (("a.root", 3000), ("b.parquet", 1000), ("c.png", 500)):
        (tmp_path / name).write_bytes(b"0" * count)
    assert file_sizes(tmp_path) == (0.004, 0.0005)
    assert file_sizes(tmp_path / "c.png") == (0.0, 0.0005)
    assert file_sizes(tmp_path / "none") == (0.0, 0.0)


def test_schedule_by_hand() -> None:
    # three jobs of 2 s, then one that waits for two of them
    seconds, threads, waits = [2.0, 2.0, 2.0, 3.0], [1, 1, 1, 1], {3: {0, 1}}
    assert elapsed_time(seconds, threads, waits, 1) == 9
    # 0 and 1 until 2; then 2 (ready from the start) and 3 until 5
    assert elapsed_time(seconds, threads, waits, 2) == 5
    assert elapsed_time(seconds, threads, waits, 100) == 5
    # a job that takes both cores waits until both are free
    assert elapsed_time([2.0, 1.0, 1.0], [1, 2, 1], {}, 2) == 3
    # and takes all there are if it wants more
    assert elapsed_time([2.0, 1.0], [4, 1], {}, 2) == 3
    assert elapsed_time([], [], {}, 2) == 0


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30), st.integers(1, 8))
def test_a_schedule_lies_between_its_bounds(seconds: list[float], cores: int) -> None:
    waits = {job: {job // 2} for job in range(1, len(seconds))}
    longest = [0.0] * len(seconds)
    for job, time in enumerate(seconds):
        longest[job] = time + (longest[job // 2] if job else 0.0)
    found = elapsed_time(seconds, [1] * len(seconds), waits, cores)
    lower = max(sum(seconds) / cores, max(longest))
    # Graham's bound of list scheduling
    assert lower * (1 - 1e-9) <= found <= (sum(seconds) / cores + max(longest)) * (1 + 1e-9)


def test_a_circle_is_told() -> None:
    with pytest.raises(ValueError, match="circle"):
        elapsed_time([1.0, 1.0], [1, 1], {0: {1}, 1: {0}}, 2)
