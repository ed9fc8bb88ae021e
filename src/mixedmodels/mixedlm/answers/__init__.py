"""What is asked of a fit: tests, profiles, effects of groups, the summary; each takes records, never the result."""
