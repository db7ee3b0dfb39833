"""For the processes that tests start: an environment as a person has it, without what only development brings.

diffusers and transformers take these in wherever they find them, which costs each process a third of its start.
"""

import sys

for name in ("accelerate", "dill", "peft", "scipy"):
    sys.modules[name] = None  # type: ignore[assignment]  # as if it could not be found
