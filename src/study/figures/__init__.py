"""The figures, drawn from tables alone."""
