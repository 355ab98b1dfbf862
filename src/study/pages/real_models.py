"""What pretrained models did: the accuracies published beside those of the bundled model."""

import pandas as pd

from study.pages.page import SEEN, real_tables
from study.params import load_params
from study.paths import PARAMS


def real_models() -> pd.DataFrame:
    """Accuracies of pretrained models, on fresh seeds; of a dataset that none has seen yet, on the development seed.

    Returns:
        columns model, parameters, world, split, arm, those of `stats.Estimate`, and fresh, whether the seeds are.
    """
    files = real_tables()
    parts = []
    for study, file in files.items():
        table = pd.read_csv(file).assign(fresh=study != SEEN)
        if study != SEEN:
            parameters = pd.read_csv(file.with_name("headline.csv"))["parameters"].max()
            table = table.assign(model=load_params(PARAMS / f"{study}.yaml").model.name, parameters=parameters)
        parts.append(table)
    both = pd.concat(parts, ignore_index=True)
    fresh = both[both["fresh"]].set_index(["model", "world"]).index
    seen = both.set_index(["model", "world"]).index.isin(fresh)
    return both[both["fresh"] | ~seen].reset_index(drop=True)
