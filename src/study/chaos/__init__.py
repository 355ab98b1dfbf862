"""Faults as tests: a tiny study is disturbed, looked at, resumed and held against the undisturbed one.

`make chaos` meets every fault in turn (`faults.py` lists them) and ends in `N survived, M failed`; `make soak` kills
processes of a study for as long as asked. Nothing here is imported by the study, and no code of the study knows of it.
"""
