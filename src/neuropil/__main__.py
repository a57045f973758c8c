"""The ``neuropil`` command, also as ``python -m neuropil``."""

import sys


def main() -> None:
    """The entry point: Ctrl-C while Python still imports ends as quietly as later, in a verb."""
    try:
        from neuropil.cli import app

        app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
