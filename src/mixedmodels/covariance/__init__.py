"""Covariance structures: parameters -> Lambda."""
