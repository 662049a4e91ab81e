"""A stand-in for an adb server on loopback: its devices are this machine's own shell and files."""

import socket
import struct
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarking.platforms.android import shell_protocol


@dataclass
class Device:
    serial: str
    state: str = "device"
    properties: dict = field(default_factory=dict)
    boot_id: str | None = None
    place: str = ""
    """On USB: as in ``usb:1-4``."""


class AdbServer:
    def __init__(self, devices, *, knows_streams=True):
        self.devices = devices
        self.knows_streams = knows_streams
        self.asked = []
        self.misbehave = {}
        """Maps the beginning of a request to a function that takes the connection."""
        self.released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self):
        self.released.set()
        self._listener.close()

    def _serve(self, connection):
        device = None
        with connection, suppress(OSError, EOFError, ValueError):
            while True:
                service = read(connection, int(read(connection, 4), 16)).decode()
                self.asked.append(service)
                for begin, answer in self.misbehave.items():
                    if service.startswith(begin):
                        answer(connection)
                        return None
                if service.startswith("host:transport:"):
                    device = self._find(service.removeprefix("host:transport:"))
                    if device is None:
                        return fail(connection, f"device '{service[15:]}' not found")
                    connection.sendall(b"OKAY")
                elif device is None:
                    return self._answer_for_itself(connection, service)
                else:
                    return self._answer_for(device, connection, service)

    def _find(self, name):
        found = [one for one in self.devices if name in (one.serial, one.place) and one.state == "device"]
        return found[0] if len(found) == 1 else None

    def _answer_for_itself(self, connection, service):
        answers = {
            "host:devices": "".join(f"{one.serial}\t{one.state}\n" for one in self.devices),
            "host:devices-l": "".join(
                f"{one.serial:<22} {one.state} {one.place} transport_id:{number}\n"
                for number, one in enumerate(self.devices, start=1)
            ),
        }
        text = answers.get(service, "done")
        connection.sendall(b"OKAY%04x" % len(text.encode()) + text.encode())

    def _answer_for(self, device, connection, service):
        kind, _, script = service.partition(":")
        if service == "sync:":
            connection.sendall(b"OKAY")
            self._serve_files(connection)
        elif kind == "exec" or (kind.startswith("shell,v2") and self.knows_streams):
            connection.sendall(b"OKAY")
            process = subprocess.Popen(
                ["sh", "-c", prelude(device) + script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if kind == "exec" else subprocess.PIPE,
            )
            out, err = process.communicate()
            if kind == "exec":
                connection.sendall(out)
            else:
                connection.sendall(shell_protocol.packet(shell_protocol.STDOUT, out))
                connection.sendall(shell_protocol.packet(shell_protocol.STDERR, err))
                connection.sendall(shell_protocol.packet(shell_protocol.EXIT, bytes([process.returncode])))
        else:
            fail(connection, "closed")

    def _serve_files(self, connection):
        kind, length = struct.unpack("<4sI", read(connection, 8))
        path = read(connection, length).decode()
        try:
            if kind == b"SEND":
                path, _, mode = path.rpartition(",")
                content = b""
                while (block := struct.unpack("<4sI", read(connection, 8)))[0] == b"DATA":
                    content += read(connection, block[1])
                Path(path).write_bytes(content)
                Path(path).chmod(int(mode) & 0o777)
                connection.sendall(struct.pack("<4sI", b"OKAY", 0))
            else:
                with Path(path).open("rb") as file:
                    while block := file.read(2**16):
                        connection.sendall(struct.pack("<4sI", b"DATA", len(block)) + block)
                connection.sendall(struct.pack("<4sI", b"DONE", 0))
        except OSError as error:
            text = error.strerror.encode()
            connection.sendall(struct.pack("<4sI", b"FAIL", len(text)) + text)
            connection.recv(1)  # as the daemon: the other side hangs up


def prelude(device):
    cases = "".join(f"{name}) echo '{value}' ;; " for name, value in device.properties.items())
    script = f'getprop() {{ case "$1" in {cases}*) echo ;; esac; }}\n'
    if device.boot_id is not None:  # what the kernel says comes through grep
        file = "/proc/sys/kernel/random/boot_id"
        script += f'grep() {{ command grep "$@" | sed "s#^{file}:.*#{file}:{device.boot_id}#"; }}\n'
    return script


def read(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def fail(connection, text):
    connection.sendall(b"FAIL%04x" % len(text.encode()) + text.encode())


@contextmanager
def running(*devices, **options):
    server = AdbServer(list(devices), **options)
    threading.Thread(target=server.run, daemon=True).start()
    try:
        yield server
    finally:
        server.close()
