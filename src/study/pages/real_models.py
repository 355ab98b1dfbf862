"""What pretrained models did: the accuracies published beside those of the bundled model."""

import pandas as pd

from study.pages.page import SEEN, real_tables
from study.params import load_params
from study.paths import PARAMS

BESIDE = ("icl", "retrieved", "ft", "ft reversed", "ft local", "ft augmented strict")  # arms shown of several models
FEWEST_ITEMS = 8  # the interval of fewer says nothing


def real_models() -> pd.DataFrame:
    """Accuracies of pretrained models, on fresh seeds; of a dataset that none has seen yet, on the development seed.

    Returns:
        columns model, parameters (as its makers count them), world, split, arm, those of `stats.Estimate`, and fresh,
        whether the seeds are.
    """
    files = real_tables()
    seen = pd.concat(map(pd.read_csv, files.pop(SEEN))).assign(fresh=False)
    sizes = seen.groupby("model")["parameters"].first()  # a GGUF file may hold the embedding twice
    parts = []
    for study, some in files.items():
        model = load_params(PARAMS / f"{study}.yaml").model.name
        table = pd.concat(map(pd.read_csv, some)).drop_duplicates(["world", "split", "arm"])  # controls show ft again
        parts.append(table.assign(model=model, parameters=sizes[model], fresh=True))
    both = pd.concat([*parts, seen], ignore_index=True)
    fresh = both[both["fresh"]].set_index(["model", "world"]).index
    shadowed = both.set_index(["model", "world"]).index.isin(fresh)
    return both[both["fresh"] | ~shadowed].reset_index(drop=True)
