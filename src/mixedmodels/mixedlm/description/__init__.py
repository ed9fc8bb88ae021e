"""A model as frozen records: its rows, names and random structure, and how new rows become rows of it."""
