"""Run the front end: `python -m pypi_conda <arguments of conda>`."""

import sys

from pypi_conda.quick import quick_answer


def main() -> int:
    """Answer one call of `conda` and return the exit status."""
    answer = quick_answer(sys.argv[1:])
    if answer is not None:
        print(answer)
        return 0
    from pypi_conda.cli import run  # loads YAML and packaging, which the quick answers do without

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
