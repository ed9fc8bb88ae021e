"""A fit as one page that needs nothing else."""
