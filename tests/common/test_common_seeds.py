from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lhcml.common.seeds import LARGEST_SEED, derive_seed


def test_seed_is_a_fact_of_its_arguments() -> None:
    # changing this value changes every result of every configuration
    assert derive_seed(20261122, "generate_events", "toptag", "top", 0) == derive_seed(
        20261122, "generate_events", "toptag", "top", "0"
    )
    assert derive_seed(1, "r", "ab", "c") != derive_seed(1, "r", "a", "bc")


@given(st.integers(0, 2**40), st.text(max_size=20), st.lists(st.text(max_size=10), max_size=4))
def test_seed_is_in_the_range_of_pythia(root: int, rule: str, wildcards: list[str]) -> None:
    assert 1 <= derive_seed(root, rule, *wildcards) <= LARGEST_SEED


def test_seeds_of_many_jobs_differ() -> None:
    # 5000 draws out of 9e8: expected number of coincidences 0.014
    assert len({derive_seed(1, "rule", i) for i in range(5000)}) == 5000
