"""The ``neuropil`` command, also as ``python -m neuropil``."""

import sys


def main() -> None:
    """Run the command line. Ctrl-C during the first imports exits as in a verb: "stopped", code 130."""
    try:
        from neuropil.cli import app

        app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
