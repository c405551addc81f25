"""Run the command line: ``python -m relumine``."""

import sys

from relumine.cli import main

if __name__ == "__main__":
    sys.exit(main())
