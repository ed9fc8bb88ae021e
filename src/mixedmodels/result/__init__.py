"""The result of a fit: what users touch, one chapter of its methods a file; each kind of result is loaded alone."""
