"""The launcher: `python -m study VERB`. It sets what must be set before torch is imported."""

import os
import sys

# A busy neighbour makes spinning OpenMP threads fifty times slower; sleeping ones lose nothing.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Keep freed buffers instead of handing them back to the kernel at each step.
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**30))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

# Pages are executed by this interpreter, whatever kernels a user has installed.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ.pop("JUPYTER_PATH", None)

if __name__ == "__main__":
    from study.cli import main

    sys.exit(main())
