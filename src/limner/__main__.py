"""`python -m limner`: the command line, where its script is not on the path."""

import sys

from limner.cli import main

sys.exit(main())
