"""How fast the study is, compared with the libraries that others use for the same work.

    python -m bench --only "scoring tuning"    # what `make bench` runs; --quick: the fast rows only, once each

Both ways are timed in turn on this machine, and their results are checked to be equal. Needs requirements/bench.lock.
"""
