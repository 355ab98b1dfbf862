"""Runs of the study: what identifies them, where they are stored, how they are performed."""
