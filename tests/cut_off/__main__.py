"""The launcher's verbs on studies in a folder, each on its own: `python tests/cut_off FOLDER "plan --study x" ...`.

In a network namespace of its own loopback is brought up first, which notebooks' kernels talk through, and afterwards
`counters.json` says what the kernel had no route for: that of what is no Python, too, and whoever hid it.
"""

import fcntl
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
from pathlib import Path

from study import cli
from study.advice import ask

SET_FLAGS, UP = 0x8914, 1  # SIOCSIFFLAGS and IFF_UP of Linux
NO_ROUTE = ("IpOutNoRoutes", "Ip6OutNoRoutes", "UdpNoPorts", "Udp6NoPorts")  # the latter: of a name server here


def bring_loopback_up() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))


def without_route() -> dict[str, int]:
    """How often something in this network namespace sought what is not in it."""
    lines = [line.split() for line in Path("/proc/net/snmp").read_text(encoding="ascii").splitlines()]
    counters = dict(line.split() for line in Path("/proc/net/snmp6").read_text(encoding="ascii").splitlines())
    for (protocol, *names), (_, *values) in zip(lines[::2], lines[1::2], strict=True):
        counters |= {protocol.rstrip(":") + name: value for name, value in zip(names, values, strict=True)}
    return {name: int(counters[name]) for name in NO_ROUTE}


def main(place: Path, verbs: list[str], cut: bool) -> int:
    """Run the verbs; the first exit status that is not 0."""
    if cut:
        bring_loopback_up()
    cli.PARAMS, cli.RESULTS, cli.NOTEBOOKS = place, place / "results", place / "notebooks"
    ask.PARAMS = place
    for verb in verbs:
        print(f"{verb}:", flush=True)
        if status := cli.main(shlex.split(verb)):
            return status
    if cut:
        study = without_route()
        # What is no Python, and is not told that it fails.
        subprocess.run(["bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/9"], stderr=subprocess.DEVNULL, check=False)
        counted = {"study": study, "and one more": without_route()}
        (place / "counters.json").write_text(json.dumps(counted), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:], bool(os.environ.get("CUT"))))
