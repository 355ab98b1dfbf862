"""Published datasets, pinned by commit and SHA-256; `make fetch DATA=name` downloads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from study.config import ParamsError
from study.digest import sha256_of
from study.paths import ROOT, shown

FETCHED = ROOT / "build" / "data"


class PublicData(NamedTuple):
    """Files of a public repository on GitHub, by name with their SHA-256."""

    repository: str
    commit: str
    folder: str
    files: Mapping[str, str]


PUBLIC_DATA = {
    # Berglund et al. 2023, arXiv 2309.12288: names and descriptions. No license is given there, so no copy is here.
    "reversal_curse": PublicData(
        "lukasberglund/reversal_curse",
        "6af5f418755d528304e406361e86477637d21c84",
        "data/reverse_experiments/june_version_7921032488",
        {
            "p2d_prompts_train.jsonl": "8a20b9c259b67bc9c3a0f1823d132c844f98d84589d79b108a0ae0c5aa2a2391",
            "d2p_prompts_train.jsonl": "2d66551577306f164e9b0fd372dd997af0e90bb62690d00a2cab818ae65e47a1",
            "both_prompts_train.jsonl": "a389f60360e5ec1862abba47f9530c916a59483d1f6cb55015bf45197e880db5",
            "p2d_reverse_prompts_test.jsonl": "963fa595ce19b330cdf07058313f3e8570b57545260256414bcb74a60c959553",
            "d2p_reverse_prompts_test.jsonl": "8c79da9791788ffbe77dc876ae2e34cc00f980e08c946bda188367ae1cd6ea61",
            "p2d_prompts_test.jsonl": "269fe15363c3bd1cb59cfdf4e6464f35d548d4cb786e6f7b1db84f260788e8f8",
            "d2p_prompts_test.jsonl": "67705c9ebd77fc030998677acae33af9f22cf4b80bb7443d4ef7e5c9c1d727c4",
        },
    )
}


def public_folder(name: str) -> Path:
    """The folder of a fetched dataset.

    Raises:
        ParamsError: if one of its files is missing, or is not as it was published.
    """
    folder = FETCHED / name
    for file, recorded in PUBLIC_DATA[name].files.items():
        path = folder / file
        if not path.is_file():
            raise ParamsError(f"no {shown(path)}; fetch the files with `make fetch DATA={name}`")
        if sha256_of(path) != recorded:
            raise ParamsError(f"{shown(path)} is not as it was published; fetch it again with `make fetch DATA={name}`")
    return folder
