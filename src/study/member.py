"""One process of a group that does a job in step with the others; `study.sharding` starts it.

accelerate launch --config_file FILE --module study.member FOLDER
"""

import os
import pickle
import sys
import threading
import time
import traceback
from pathlib import Path

from study import group
from study.models import pick_device
from study.sharding import FAILED, JOB, enter
from study.work import work


def main(folder: Path) -> None:
    """Do the job in a folder, and write there why units failed, or what ended this process."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    job, store = pickle.loads((folder / JOB).read_bytes())  # noqa: S301, by the process that started this one
    try:
        enter(pick_device(job[0].params.model) == "cpu")
        # One thread: passes of a model that is shared come one after the other, in the same order everywhere.
        failed = work(job, store, threads=1)
        if group.rank() == 0:
            (folder / FAILED).write_bytes(pickle.dumps(failed))
        group.leave()
    except BaseException as error:
        traceback.print_exc()
        (folder / f"{os.environ['RANK']}.txt").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        sys.stderr.flush()
        os._exit(1)  # at once: the others wait for what it does not do


def _end_with(parent: int) -> None:
    """A process whose study was killed ends too, instead of working on for nobody."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
