"""Notebooks: what they run, draw and show, and whether they are up to date."""
