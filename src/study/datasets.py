"""The datasets by name: those that a world's generator draws, and those that are given as files.

A new one that is drawn is a module in `study.worlds` with `Params`, `PRESETS` and `build`, and one row in its table;
one that is given has `Params`, `PRESETS` and `gather`, and one row here.
"""

from types import ModuleType

from study.data import berglund
from study.documents import dataset as documents
from study.worlds import DRAWN

GIVEN: dict[str, ModuleType] = {"berglund": berglund, "documents": documents}
WORLDS: dict[str, ModuleType] = {**DRAWN, **GIVEN}
