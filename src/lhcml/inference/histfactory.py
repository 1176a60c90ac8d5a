"""HistFactory models of ROOT: XML files with histograms in ROOT files, converted to a workspace by pyhf.

The paths inside are relative to the folder where `hist2workspace` is run, which the files do not tell: often the one
above the top file. It is found as the one below which all channels exist.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError
from lhcml.inference.quiet_pyhf import quiet_pyhf

# What pyhf leaves out of the model, in silence or in a line of its log
LEFT_OUT = {
    "ConstraintTerm": "constraint terms are those of pyhf: Gaussian for OverallSys and HistoSys",
    "PreprocessFunction": "functions of parameters are left out",
    "Asimov": "Asimov datasets of the XML are left out",
}


def find_base(path: Path) -> Path:
    """Return the folder that the paths in a top XML file start from.

    Raises
    ------
    UserError
        If the file is missing or no HistFactory XML, or no folder has its channels.
    """
    inputs = _channel_names(_parse(path), path)
    candidates = [path.parent, *path.parent.absolute().parents[:3], Path()]
    for base in candidates:
        if all((base / name).is_file() for name in inputs):
            return base
    missing = next(name for name in inputs if not (path.parent / name).is_file())
    raise UserError(
        f"{path}: its channel {missing} is neither beside it nor in a folder above",
        "place the files as in the folder where `hist2workspace` was run",
    )


def list_files(path: str | Path) -> list[str]:
    """Return a top XML file and the XML and ROOT files that it names, as far as they can be found."""
    path = Path(path)
    try:
        base = find_base(path)
        channels = [base / name for name in _channel_names(_parse(path), path)]
        trees = [_parse(channel) for channel in channels]
    except UserError:
        return [str(path)]  # the job tells what is wrong
    names = [
        value
        for tree in trees
        for element in tree.iter()
        for key, value in element.attrib.items()
        if key in ("InputFile", "HistoFile", "HistoFileLow", "HistoFileHigh") and value
    ]
    files = [path, *channels, *(base / name for name in names)]
    return list(dict.fromkeys(str(file) for file in files if file.is_file()))


def read_histfactory(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Read a HistFactory model.

    Parameters
    ----------
    path : Path
        The top XML file, whose element is `Combination`.

    Returns
    -------
    workspace : dict
        pyhf workspace, with all measurements of the file.
    remarks : list of str
        What pyhf does not take over.

    Raises
    ------
    UserError
        If a file, a histogram or an attribute is missing.
    """
    base, top = find_base(path), _parse(path)
    try:
        from pyhf import readxml
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: reading HistFactory needs uproot, which is not installed",
            "install it as in envs/inference.yaml",
        ) from error
    # pyhf takes the text of elements as it stands, with the blanks and line ends that people write
    for element in top.iter():
        if element.text:
            element.text = " ".join(element.text.split())
    try:
        readxml.clear_filecache()
        with quiet_pyhf():
            spec = readxml.parse(io.BytesIO(ET.tostring(top)), base)
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: file {error.filename or error} is missing", f"paths start from {base}: place it there"
        ) from error
    except KeyError as error:
        raise UserError(
            f"{path}: not found: {error.args[0] if error.args else error}",
            "check the histogram's name and path in the XML, or the attribute",
        ) from error
    except (ET.ParseError, RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
        raise UserError(f"{path}: pyhf cannot read the model: {error}", "correct the XML file") from error
    finally:
        readxml.clear_filecache()
    trees = [top, *(_parse(base / name) for name in _channel_names(top, path))]
    return dict(spec), list(dict.fromkeys(remark for tree in trees for remark in _left_out(tree)))


def _left_out(tree: ET.Element) -> list[str]:
    """Return remarks on what pyhf does not take from an XML file."""
    remarks = []
    for element in tree.iter():
        name = element.attrib.get("Name", tree.attrib.get("Name", ""))
        if element.tag in LEFT_OUT:
            remarks.append(f"{element.tag}: {LEFT_OUT[element.tag]}")
        if element.tag == "ShapeSys" and element.attrib.get("ConstraintType", "Poisson") != "Poisson":
            remarks.append(f"ShapeSys {name}: its constraint is Poisson in pyhf, Gaussian in the XML")
        if element.tag == "StatErrorConfig" and element.attrib.get("ConstraintType", "Gaussian") != "Gaussian":
            remarks.append(f"channel {name}: statistical uncertainties are Gaussian in pyhf, Poisson in the XML")
        if float(element.attrib.get("RelErrorThreshold", 0) or 0) > 0:
            remarks.append(f"channel {name}: pyhf keeps statistical uncertainties below RelErrorThreshold")
    return remarks


def _channel_names(top: ET.Element, path: Path) -> list[str]:
    """Return the paths of the channels in a top XML file."""
    names = [element.text.strip() for element in top.findall("Input") if element.text and element.text.strip()]
    if top.tag != "Combination" or not names:
        raise UserError(
            f"{path} is not the top file of a HistFactory model: it has element {top.tag} and {len(names)} inputs",
            "name the file with the element Combination, which lists the channels as Input",
        )
    return names


def _parse(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path in the configuration") from error
    except ET.ParseError as error:
        raise UserError(f"{path} is not valid XML: {error}", "name the top XML file of a HistFactory model") from error
