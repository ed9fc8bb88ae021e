"""From a description and what was asked for to a fitted state; every way to fit is a function here."""
