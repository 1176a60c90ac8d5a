import operator
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pypi_conda.spec import MatchSpec, SpecError, parse_spec, to_pep440


@pytest.mark.parametrize(
    ("text", "name", "version", "build"),
    [
        ("numpy", "numpy", "", ""),
        ("NumPy  # a comment", "numpy", "", ""),
        ("numpy=*", "numpy", "", ""),
        ("numpy *", "numpy", "", ""),
        ("numpy=1.26", "numpy", "==1.26.*", ""),
        ("numpy = 1.26", "numpy", "==1.26.*", ""),
        ("numpy =1.26.*", "numpy", "==1.26.*", ""),
        ("numpy 1.26.*", "numpy", "==1.26.*", ""),
        ("numpy 1.26*", "numpy", "==1.26.*", ""),
        ("numpy 1.26.4", "numpy", "==1.26.4", ""),
        ("numpy==1.26.4", "numpy", "==1.26.4", ""),
        ("numpy>=2,<2.4", "numpy", ">=2,<2.4", ""),
        ("numpy >= 2 , < 2.4", "numpy", ">=2,<2.4", ""),
        ("numpy >=1.20.*", "numpy", ">=1.20", ""),
        ("numpy !=1.2", "numpy", "!=1.2", ""),
        ("numpy !=1.2.*", "numpy", "!=1.2.*", ""),
        ("numpy ~=1.2", "numpy", "~=1.2", ""),
        ("numpy <3.0a0", "numpy", "<3.0", ""),
        ("numpy >=3.0a0", "numpy", ">=3.0a0", ""),
        ("numpy >=1,*", "numpy", ">=1", ""),
        ("conda-forge::numpy>=2", "numpy", ">=2", ""),
        ("conda-forge/linux-64::numpy", "numpy", "", ""),
        ("scikit-learn>=1.5", "scikit-learn", ">=1.5", ""),
        ("ruamel.yaml =0.18", "ruamel.yaml", "==0.18.*", ""),
        ("_openmp_mutex", "_openmp_mutex", "", ""),
        ("numpy=1.26.4=py311h0", "numpy", "==1.26.4", "py311h0"),
        ("numpy==1.26.4=py311h0", "numpy", "==1.26.4", "py311h0"),
        ("numpy 1.26.4 py311_0", "numpy", "==1.26.4", "py311_0"),
        ("pytorch >=2.5 *cuda*", "pytorch", ">=2.5", "*cuda*"),
        ("pytorch=*=cuda*", "pytorch", "", "cuda*"),
        ("numpy[version='>=1.2,<2']", "numpy", ">=1.2,<2", ""),
        ('numpy[version=">=1.2", build=py3*]', "numpy", ">=1.2", "py3*"),
        ("numpy[version=1.2, channel=conda-forge]", "numpy", "==1.2", ""),
    ],
)
def test_match_specs(text: str, name: str, version: str, build: str) -> None:
    assert parse_spec(text) == MatchSpec(name, version, build)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "numpy =1.26|=2.0",
        "numpy =",
        "numpy 1.2 py_0 extra",
        "numpy =1.*.3",
        "numpy =not_a_version",
        "numpy >>1",
        "numpy[version=1.2, url=here]",
        "numpy[nonsense]",
        "https://example.org/numpy.tar.bz2",
        "numpy @ file.whl",
    ],
)
def test_specs_without_an_equivalent_are_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)


releases = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))


@given(releases, releases)
def test_fuzzy_versions_admit_the_release_and_its_patches_only(wanted: str, other: str) -> None:
    admitted = SpecifierSet(to_pep440(f"={wanted}"))
    assert wanted in admitted
    assert f"{wanted}.7" in admitted
    padded = [*Version(other).release, 0, 0, 0]
    release = list(Version(wanted).release)
    assert (other in admitted) == (padded[: len(release)] == release)


@given(releases, releases)
def test_exact_versions_admit_themselves_only(wanted: str, other: str) -> None:
    for form in (wanted, f"=={wanted}"):
        assert (other in SpecifierSet(to_pep440(form))) == (Version(other) == Version(wanted))


@given(
    st.sampled_from([(">=", operator.ge), (">", operator.gt), ("<=", operator.le), ("<", operator.lt)]),
    releases,
    releases,
)
def test_inequalities_compare_numbers(
    case: tuple[str, Callable[[Version, Version], bool]], bound: str, other: str
) -> None:
    symbol, compare = case
    admitted = SpecifierSet(to_pep440(f"{symbol} {bound}"))
    assert (other in admitted) == compare(Version(other), Version(bound))


@given(st.lists(st.sampled_from([">=1", "<9", "!=3.*", "=2", "*", "<=8.1"]), min_size=1), releases)
def test_a_comma_means_and(clauses: list[str], version: str) -> None:
    together = SpecifierSet(to_pep440(",".join(clauses)))
    assert (version in together) == all(version in SpecifierSet(to_pep440(clause)) for clause in clauses)


@given(st.text(alphabet="abz019.=<>!~*, |[]':#_-", max_size=25))
def test_any_text_is_translated_or_refused(text: str) -> None:
    try:
        spec = parse_spec(text)
    except SpecError:
        return
    SpecifierSet(spec.version)
    assert spec.name
