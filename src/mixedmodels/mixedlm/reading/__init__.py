"""What callers pass, read or refused: arguments, labels of groups, variance components, formulas; knows no model."""
