"""Train, predict and score with the configuration files of PyTorch Connectomics; docs/tutorial.md shows how."""

import sys

from neuropil.compat.pytc.program import main

if __name__ == "__main__":
    sys.exit(main())
