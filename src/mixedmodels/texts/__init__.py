"""Numbers and data frames as texts: what everything that prints is made of."""
