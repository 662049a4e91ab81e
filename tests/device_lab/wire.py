"""A wire between two network namespaces that delays and loses packets (no netem is needed).

usage: wire.py NAMESPACE_A ADDRESS_A NAMESPACE_B ADDRESS_B DELAY_MS LOSS
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

SET_INTERFACE = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001
MTU = 1400


def open_end(namespace, name, address):
    """A TUN interface in the namespace, as a file descriptor in this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    other = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(other, 0x40000000):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(descriptor, SET_INTERFACE, struct.pack("16sH22x", name.encode(), TUN_WITHOUT_HEADER))
        subprocess.run(["ip", "addr", "add", f"{address}/30", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up", "mtu", str(MTU)], check=True)
        libc.setns(own, 0x40000000)
    finally:
        os.close(own)
        os.close(other)
    return descriptor


def carry(end_a, end_b, delay_s, loss):
    chance = random.Random(1)
    on_the_way = []
    number = 0
    while True:
        wait_s = max(0.0, on_the_way[0][0] - time.monotonic()) if on_the_way else None
        for source in select.select([end_a, end_b], [], [], wait_s)[0]:
            packet = os.read(source, 65536)
            if chance.random() >= loss:
                number += 1
                target = end_b if source == end_a else end_a
                heapq.heappush(on_the_way, (time.monotonic() + delay_s, number, target, packet))
        while on_the_way and on_the_way[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(on_the_way)
            os.write(target, packet)


if __name__ == "__main__":
    namespace_a, address_a, namespace_b, address_b, delay_ms, loss = sys.argv[1:]
    ends = open_end(namespace_a, "wire0", address_a), open_end(namespace_b, "wire1", address_b)
    print("ready", flush=True)
    carry(*ends, float(delay_ms) / 1000, float(loss))
