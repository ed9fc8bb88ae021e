"""Covariance structures: of random effects, parameters -> Lambda; of residuals, coordinates -> Sigma, a file a kind."""
