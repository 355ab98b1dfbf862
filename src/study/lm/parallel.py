"""Parts of one piece of work side by side in this process."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def threads_on(device: torch.device) -> int:
    """How many parts run at a time: as many as torch has threads on a CPU, one on a GPU."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part], device: torch.device) -> list[Result]:
    """`work` of each part; on a CPU in as many threads as torch has here, each part in one.

    Products of small matrices gain little from several threads and lose time waiting; whole parts do not.
    """
    threads, inference = min(threads_on(device), len(parts)), torch.is_inference_mode_enabled()
    if threads < 2:
        return [work(part) for part in parts]

    def in_thread(part: Part) -> Result:
        with torch.inference_mode(inference):
            return work(part)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(in_thread, parts))
