"""The command line of the benchmark."""

import argparse
import sys

from study.config import ParamsError


def main(arguments: list[str] | None = None) -> int:
    """Measure; the exit status: 1 if a target is missed or nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the fast rows only, once each; nothing is written")
    parser.add_argument("--only", default="", help="names of groups of rows, whose rows replace the published ones")
    given = parser.parse_args(arguments)
    try:
        from bench.run import run

        return run(given.quick, given.only)
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; `make bench` installs it, from requirements/bench.lock",
            file=sys.stderr,
        )
    except ParamsError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
