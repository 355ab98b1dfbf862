"""In-context learning or fine-tuning? A reproducible study of how new facts generalise."""

import warnings

# What libraries remark on each other is not the reader's, nor the paths that it would leave in a notebook: a widget
# that tqdm misses, and an old name by which peft asks transformers something.
warnings.filterwarnings("ignore", message="IProgress not found")
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
