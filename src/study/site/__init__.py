"""The study as a static site."""
