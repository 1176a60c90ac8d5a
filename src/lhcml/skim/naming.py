"""One name for each branch, whatever version of NanoAOD the file is.

The skim speaks the PFNano names of Run 2 (`PFCands`, `FatJetPFCands_pFCandsIdx`, `MET`). Later versions renamed the
collections of candidates (`PFCand`, `FatJetPFCand_pfCandIdx`) and of missing momentum (`PFMET`), and shrank the index
types.
"""

from __future__ import annotations

from collections.abc import Iterable

# collection in a file -> collection in the skim
COLLECTIONS = {
    "PFCand": "PFCands",
    "FatJetPFCand": "FatJetPFCands",
    "JetPFCand": "JetPFCands",
    "GenCand": "GenCands",
    "GenJetCand": "GenJetCands",
    "GenFatJetCand": "GenFatJetCands",
    "GenJetAK8Cands": "GenFatJetCands",
    "PFMET": "MET",
}
# tables that link jets to candidates, and the names that the column with the candidate's index has had
LINKS = ("FatJetPFCands", "JetPFCands", "GenJetCands", "GenFatJetCands")
CANDIDATE_INDEX = ("candIdx", "pfCandIdx", "pfCandsIdx", "pFCandIdx", "genCandIdx", "genCandsIdx")


def canonical_name(branch: str) -> str:
    """Return the skim's name of a branch, which is the branch's own unless it is one of those renamed by a version."""
    if branch.startswith("n") and branch[1:] in COLLECTIONS:
        return "n" + COLLECTIONS[branch[1:]]
    collection, separator, column = branch.partition("_")
    collection = COLLECTIONS.get(collection, collection)
    if collection in LINKS and column in CANDIDATE_INDEX:
        column = "pFCandsIdx"
    return collection + separator + column


def canonical_names(branches: Iterable[str]) -> dict[str, str]:
    """Return `{skim name: name in the file}`; a branch that already has the skim's name wins over a renamed one."""
    names: dict[str, str] = {}
    for branch in branches:
        name = canonical_name(branch)
        if name not in names or branch == name:
            names[name] = branch
    return names
