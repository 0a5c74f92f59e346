"""A plugin that was written as a script."""

import sys

sys.exit(3)
