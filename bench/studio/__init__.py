"""What the studio's server bears: thousands of odd requests, and many clients at once. The tests' server is used."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests"))
