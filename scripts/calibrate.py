"""Fit the probabilities of decisions to several labelled volumes, and judge them on volumes that were not used.

    python scripts/calibrate.py calibration.json "what it is made from" AFFINITIES LABELS [AFFINITIES LABELS ...]
    python scripts/calibrate.py calibration.json "..." A1 L1 A2 L2 --judge A3 L3 [A4 L4 ...]

The calibration of the package is made so; `neuropil rank --calibrate` fits one to a single volume. Questions are
those at several thresholds, 0.05 to 0.5 and the volume's own; the judgement is over all of them together.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from neuropil.errors import NeuropilError
from neuropil.proofreading.calibrating import Answered, calibrate, collect, together
from neuropil.volumes import open_volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the calibration")
    parser.add_argument("made_from", help="a description of the volumes, which commands print")
    parser.add_argument("volumes", nargs="+", help="affinities and labels in turn")
    parser.add_argument("--judge", nargs="+", default=[], metavar="VOLUME", help="other affinities and labels in turn")
    given = parser.parse_args()
    found = calibrate(questions(given.volumes), given.made_from)
    found.save(given.out)
    for line in found.how_well(*together(questions(given.judge))) if given.judge else []:
        print(line)


def questions(paths: list[str]) -> list[Answered]:
    """The answered questions of volumes, affinities and labels in turn."""
    if len(paths) % 2:
        raise NeuropilError(f"expected affinities and labels in turn, got {len(paths)} volumes: {paths}")
    asked: list[Answered] = []
    with ExitStack() as stack:
        opened = [stack.enter_context(open_volume(path)) for path in paths]
        for affinities, labels in zip(opened[::2], opened[1::2], strict=True):
            asked += collect(affinities, labels)
    return asked


if __name__ == "__main__":
    main()
