"""Sphinx configuration. Built with warnings as errors: ``sphinx-build -W docs docs/_build``.

The plots are drawn while the pages are built; the other examples are run by the tests, which compare what they print.
"""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "mixedmodels"
author = "the mixedmodels developers"
release = installed("mixedmodels")
extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header", "misc.highlighting_failure", "ref.python"]  # the last: attributes of the same name
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Warns"]
autodoc_mock_imports = ["sklearn"]
plot_pre_code = "import mixedmodels as mm"
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 100)]


def write_inline(translator: Any, node: Any) -> None:
    """Write mathematics as MathML, which browsers show without a script and without a network."""
    translator.body.append(convert(node.astext()))
    raise SkipNode


def write_display(translator: Any, node: Any) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(convert(node.astext(), display="block"))
    raise SkipNode


def setup(app: Any) -> None:
    """Register the renderer of mathematics."""
    app.add_html_math_renderer("mathml", (write_inline, None), (write_display, None))
