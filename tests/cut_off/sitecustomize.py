"""Imported by every Python that starts with this folder on its path: nothing beyond loopback is reached or listened on.

An attempt fails as it would without a network, and is written to the file ATTEMPTS, so that one which a library catches
and forgets is known all the same.
"""

import errno
import ipaddress
import os
import sys
import traceback

HOSTS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}  # the host is the first argument
ADDRESSES = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}  # the address is the second


def is_beyond(host: object) -> bool:
    """Whether a host is none of this machine's own; the empty one and 0.0.0.0 are all who can reach it."""
    if host is None or host in ("localhost", b"localhost"):
        return False
    try:
        return not ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:  # a name
        return True


def watch(event: str, arguments: tuple) -> None:
    """Refuse and write down what leads beyond this machine.

    Raises:
        OSError: as without a network.
    """
    if event in HOSTS:
        host = arguments[0]
    elif event in ADDRESSES and isinstance(arguments[1], tuple):  # else a file, or no address but the connected one
        host = arguments[1][0]
    else:
        return
    if is_beyond(host):
        where = "; ".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()[-8:-1])
        with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:  # noqa: PTH123 (less to import at each start)
            file.write(f"{event} {host} by {where}\n")
        raise OSError(errno.ENETUNREACH, f"the test cut the network: {event} {host}")


if "ATTEMPTS" in os.environ:
    sys.addaudithook(watch)
