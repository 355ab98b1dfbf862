"""Documents and questions, drawn from a world or read from files."""
