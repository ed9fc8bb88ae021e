"""Plots of a fit, one function a plot; each takes ``ax=`` and returns matplotlib axes."""

from mixedmodels.plot.acf import acf
from mixedmodels.plot.binned_residual import binned_residual
from mixedmodels.plot.bootstrap import bootstrap
from mixedmodels.plot.caterpillar import caterpillar
from mixedmodels.plot.coefficients import coefficients
from mixedmodels.plot.correlation import correlation
from mixedmodels.plot.covariance import covariance
from mixedmodels.plot.design import design
from mixedmodels.plot.effects import effects
from mixedmodels.plot.level_intervals import level_intervals
from mixedmodels.plot.panel import panel
from mixedmodels.plot.profile import profile
from mixedmodels.plot.profile_pairs import profile_pairs
from mixedmodels.plot.qq import qq
from mixedmodels.plot.residual import residual
from mixedmodels.plot.scale_location import scale_location
from mixedmodels.plot.shrinkage import shrinkage
from mixedmodels.plot.spaghetti import spaghetti
from mixedmodels.plot.trace import trace
from mixedmodels.plot.variogram import variogram
from mixedmodels.plot.visits import visits

__all__ = [
    "acf",
    "binned_residual",
    "bootstrap",
    "caterpillar",
    "coefficients",
    "correlation",
    "covariance",
    "design",
    "effects",
    "level_intervals",
    "panel",
    "profile",
    "profile_pairs",
    "qq",
    "residual",
    "scale_location",
    "shrinkage",
    "spaghetti",
    "trace",
    "variogram",
    "visits",
]
