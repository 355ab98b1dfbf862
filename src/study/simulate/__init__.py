"""What the study would take on machines that are not here: `make simulate`.

A scenario (`params/scale/*.yaml`) names the shape of a model, a kind of GPU and how many there are, what a world holds
and which worlds, arms and seeds are run. From these follow, without any of it at hand:

- the memory of each kind of work on each GPU, and so how many GPUs hold one trial (`demand.py`);
- the seconds of each part of the work: the larger of what arithmetic, memory and network need (`demand.py`);
- the wall time on so many GPUs, by playing the study's own waves and jobs through, the longest first, and where the
  time of all GPUs goes (`schedule.py`, `plan.py`): what is lost says what limits.

Rates and prices of GPUs are inputs with their sources (`params/scale/gpus/`), and so are the shares of the peak rates
that are reached, which no measurement on a GPU backs here: each result is given for half and for twice the arithmetic
as well. What can be held against measurements is, at each run (`checks.py`): the schedule, the operations, the law of
long contexts, memory.
"""

from study.paths import PARAMS, RESULTS

SCENARIOS = PARAMS / "scale"
FOLDER = RESULTS / "simulate"
