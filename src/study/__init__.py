"""In-context learning or fine-tuning? A reproducible study of how new facts generalise."""

import warnings

# Plain progress lines are printed here; the widget that tqdm misses is not wanted, nor its path in a notebook.
warnings.filterwarnings("ignore", message="IProgress not found")
