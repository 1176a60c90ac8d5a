# Where public files are, and which rows of them a chunk has.
from functools import cache

from lhcml.samples.public import find_file, read_records, split_member


@cache
def public_records() -> dict:
    """Return the list of public records; read once, and only by configurations that use one."""
    try:
        return read_records(ROOT / "data/public.yaml")
    except UserError as error:
        raise WorkflowError(str(error)) from None


def known_of_file(wildcards) -> str:
    """Params function: what the list knows of a public file, as JSON."""
    return as_json(find_file(public_records(), int(wildcards.record), wildcards.file))


def public_path(name: str, record: int | None) -> str:
    """Return where a file is: at its path, or in the folder of public files, where it is put by hand as well.

    Parameters
    ----------
    name : str
        Path of a file, or its name in the record; perhaps with that of a member of an archive.
    record : int, optional
        Number of the record.
    """
    return name if record is None else f"{config['samples']['public']['folder']}/{record}/{name}"


def public_input(name: str, record: int | None) -> str:
    """Return what a job that reads a file depends on: the file, or the check of the public one; see `public_path`."""
    file, _ = split_member(name)
    return file if record is None else f"results/samples/public/{record}/{file}.json"


def import_of(wildcards) -> dict:
    """Return the block `import` of a dataset."""
    return datasets(wildcards.channel)[wildcards.dataset]["import"]


def chunk_in_file(wildcards) -> tuple[int, int]:
    """Return the position of the file that a chunk is of, and the number of the chunk in it."""
    return divmod(int(wildcards.chunk), chunks_of(datasets(wildcards.channel)[wildcards.dataset]["events"]))


def imported_name(wildcards) -> str:
    """Return the entry of `files` that a chunk is of."""
    return import_of(wildcards)["files"][chunk_in_file(wildcards)[0]]


def imported_input(wildcards) -> str:
    """Input function: what a chunk is made of."""
    return public_input(imported_name(wildcards), import_of(wildcards).get("record"))


def imported_file(wildcards) -> str:
    """Params function: the file that a chunk is of."""
    return public_path(imported_name(wildcards), import_of(wildcards).get("record"))


def layout_sources(wildcards) -> list[str]:
    """Input function: the module of the layout, which is loaded by name, and what it imports."""
    return sources(f"lhcml.samples.layouts.{import_of(wildcards)['layout']}")


def first_row_of_chunk(wildcards) -> int:
    """Params function: the first row of a chunk in its file."""
    return chunk_in_file(wildcards)[1] * EVENTS_PER_CHUNK


def event_offset(wildcards) -> int:
    """Params function: the number of the event of row 0; the files of a dataset are counted through."""
    return chunk_in_file(wildcards)[0] * datasets(wildcards.channel)[wildcards.dataset]["events"]
