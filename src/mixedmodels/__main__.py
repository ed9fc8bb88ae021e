"""``python -m mixedmodels``: the same as the command ``mixedmodels``."""

import sys

from mixedmodels.cli import main

sys.exit(main())
