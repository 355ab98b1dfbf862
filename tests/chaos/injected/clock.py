"""A clock that runs backwards, an hour in each second."""

import time

_now, _steady, _began = time.time, time.monotonic, time.monotonic()


def _back() -> float:
    return _now() - 3600 * (_steady() - _began)


time.time = _back
time.time_ns = lambda: int(_back() * 1e9)
