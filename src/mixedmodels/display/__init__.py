"""Words, tables and numbers as a reader sees them."""
