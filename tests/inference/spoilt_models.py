"""Ways to spoil the workspace of the tests: functions that change it in place."""

from __future__ import annotations

import copy


def spoil(*path, value):
    """Return a function that sets (or with `...` deletes) a value deep in a workspace."""

    def change(spec):
        node = spec
        for key in path[:-1]:
            node = node[key]
        if value is ...:
            del node[path[-1]]
        else:
            node[path[-1]] = value

    return change


def append(*path, value):
    def change(spec):
        node = spec
        for key in path:
            node = node[key]
        node.append(copy.deepcopy(value))

    return change


def all_of(*changes):
    def change(spec):
        for part in changes:
            part(spec)

    return change


def histosys(name, up, down):
    return {"name": name, "type": "histosys", "data": {"hi_data": up, "lo_data": down}}


def normsys(name, hi, lo):
    return {"name": name, "type": "normsys", "data": {"hi": hi, "lo": lo}}


def plain(name, kind, data=None):
    return {"name": name, "type": kind, "data": data}


SIGNAL, BACKGROUND = ("channels", 0, "samples", 0), ("channels", 0, "samples", 1)
OTHER = ("channels", 1, "samples", 1)
CONFIG = ("measurements", 0, "config")
SETTINGS = (*CONFIG, "parameters")
LUMI = (*SETTINGS, 0)
IDLE = plain("idle", "normfactor")
NO_LUMI = spoil(*SETTINGS, value=[])
