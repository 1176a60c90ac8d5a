"""The block `features.levels`, and what it needs of its channel."""

from pathlib import Path

import pytest

from lhcml.common.configuration import load_configuration
from lhcml.common.errors import UserError

SCHEMAS = Path(__file__).parents[2] / "workflow/schemas"
KEEP = {"events": "all", "particle_level": True}
JETS = {"collection": "Jet", "radius": 0.4}
COLLECTIONS = {"collections": ["Jet", "PFCands", "GenCands"]}
GENERATED = {"nominal": {"generate": "zjets", "events": 10}}


def load(levels, keep=KEEP, jets=JETS, samples=COLLECTIONS, datasets=GENERATED, channel="zjets", **selection):
    block = {"datasets": datasets, "samples": samples, "selection": {"jets": jets, "keep": keep, **selection}}
    return load_configuration(
        {"seed": 1, "channels": {"zjets": block}, "features": {"levels": {channel: levels}}}, SCHEMAS
    )


def test_defaults():
    block = load({})["features"]["levels"]["zjets"]
    assert block == {"jets": 1, "leptons": False, "constituents": False}
    assert load({"jets": 2}, jets=JETS | {"take": "two_leading"})["features"]["levels"]["zjets"]["jets"] == 2


def test_collision_data_need_no_particle_level(tmp_path):
    (tmp_path / "data.root").touch()
    data = {"data": {"files": [str(tmp_path / "data.root")], "data": True}}
    load({}, keep={"events": "all"}, datasets=data)
    with pytest.raises(UserError, match="particle_level"):
        load({}, keep={"events": "all"}, datasets={"mc": {"files": data["data"]["files"]}})


@pytest.mark.parametrize(
    ("levels", "more", "message"),
    [
        ({}, {"channel": "zjet"}, "features.levels: 'zjet' is not defined(.|\n)*'zjets'"),
        (
            {},
            {"keep": {"particle_level": True}},
            "needs channels.zjets.selection.keep.events: all",
        ),
        ({}, {"keep": {"events": "all"}}, "needs channels.zjets.selection.keep.particle_level: true"),
        ({}, {"keep": KEEP | {"constituents": False}}, "selection.keep.constituents: true"),
        ({}, {"samples": {"collections": ["Jet", "PFCands"]}}, r"samples.collections: \[Jet, PFCands, GenCands\]"),
        ({"jets": 2}, {}, "selection.jets.take: two_leading"),
        ({"jets": 3}, {}, "features.levels.zjets.jets"),
        ({"leptons": True}, {}, "needs channels.zjets.selection.z_candidate"),
        ({"lepton": True}, {}, "features.levels.zjets.lepton: unknown key; did you mean 'leptons'"),
    ],
)
def test_mistakes_are_named(levels, more, message):
    with pytest.raises(UserError, match=message):
        load(levels, **more)
