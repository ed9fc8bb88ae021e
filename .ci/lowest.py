"""Print the lowest versions that pyproject.toml declares, as constraints for pip: ``python .ci/lowest.py EXTRA...``."""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
declared = list(project["dependencies"])
for extra in sys.argv[1:]:
    declared += project["optional-dependencies"][extra]
for requirement in declared:
    if lowest := re.match(r"([\w.-]+)>=([\d.]+)", requirement):
        print("{}=={}".format(*lowest.groups()))
print("pyparsing<3.3")  # warns of names that matplotlib's lowest version uses
