"""Sphinx configuration. Built with warnings as errors: ``sphinx-build -W docs docs/_build``."""

from __future__ import annotations

import warnings
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent

project = "mixedmodels"
author = "the mixedmodels developers"
release = installed("mixedmodels")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Warns"]
autodoc_mock_imports = ["sklearn"]

GALLERY = (
    ("panel", "Reaction ~ Days + (Days | Subject)", "sleepstudy", "fit.plot()"),
    ("caterpillar", "Reaction ~ Days + (Days | Subject)", "sleepstudy", "mm.plot.caterpillar(fit)"),
    ("shrinkage", "Reaction ~ Days + (Days | Subject)", "sleepstudy", "mm.plot.shrinkage(fit)"),
    ("covariance", "Reaction ~ Days + (Days | Subject)", "sleepstudy", "mm.plot.covariance(fit)"),
    ("spaghetti", "Reaction ~ Days + (Days | Subject)", "sleepstudy", "mm.plot.spaghetti(fit)"),
    ("effects", "score ~ Machine + (1 | Worker)", "Machines", "mm.plot.effects(fit)"),
    ("qq", "strength ~ 1 + (1 | batch/cask)", "Pastes", "mm.plot.qq(fit)"),
    ("profile", "Yield ~ 1 + (1 | Batch)", "Dyestuff", "mm.plot.profile(fit.profile())"),
    ("trace", "diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", "mm.plot.trace(fit)"),
)


def build_gallery(*_: object) -> None:
    """Draw the gallery's pictures, and the page that shows them."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    import mixedmodels as mm  # noqa: PLC0415

    folder = HERE / "_build" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Gallery", "", "All plots take a fit and return matplotlib axes; `ax=` draws into your own.", ""]
    for name, formula, data, call in GALLERY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = mm.lmer(formula, mm.load_dataset(data))
            plt.close("all")
            eval(call, {"mm": mm, "fit": fit})
            plt.gcf().savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
        lines += [f"## {name}", "", "```py", f'fit = mm.lmer("{formula}", mm.load_dataset("{data}"))', call, "```", ""]
        lines += [f"![{name}](_build/gallery/{name}.png)", ""]
    (HERE / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


def setup(app: object) -> None:
    """Draw before Sphinx reads."""
    app.connect("builder-inited", build_gallery)  # type: ignore[attr-defined]
