"""Faults as tests: a tiny study is disturbed, checked, resumed, and compared with the undisturbed one.

    make chaos QUICK=1 ONLY="kills,torn results"    # every fault, or those whose tests begin with these words
    make soak MINUTES=60                            # kill processes of a whole study at random

The study imports nothing of this and no code of it knows of faults. QUICK, ONLY, FAULTS (how many processes are killed)
and SEED are environment variables.
"""
