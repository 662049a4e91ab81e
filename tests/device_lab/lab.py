"""Real devices for tests: Debian's adbd and OpenSSH's sshd, each in separate namespaces.

Everything that talks to them runs in the lab's network namespace, which has no way out. Where this machine
does not allow it (no root, no namespaces, a package is missing), ``why_not`` says so and the tests skip.
"""

from __future__ import annotations

import ctypes
import functools
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from tests.support.waiting import LIMIT_S

HERE = Path(__file__).parent
PACKAGES = "adbd,procps,mksh,toybox,dash,coreutils,bash,util-linux,sed,grep,findutils"
PROGRAMS = ("adb", "mmdebstrap", "ip", "unshare", "setpriv", "c++", "ssh", "ssh-keygen", "/usr/sbin/sshd")
TOYBOX_COMMANDS = (
    *("cat", "chmod", "cp", "date", "dirname", "env", "find", "grep", "head", "ls", "md5sum", "mkdir", "mv"),
    *("readlink", "rm", "setsid", "sleep", "taskset", "tr", "uname", "wc", "yes"),
)
"""Android's own, not those of GNU."""
CLONE_NEWNET = 0x40000000
NETWORK = "10.77.0"
WIRE_NETWORK = "10.78.0"
LINUX_ARCHITECTURES = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
ABI = {"amd64": "x86_64", "arm64": "arm64-v8a"}


@functools.cache
def why_not(architecture: str = "amd64") -> str | None:
    """Why there can be no lab here; None where there can be one."""
    if sys.platform != "linux":
        return "the device lab needs Linux"
    if os.geteuid() != 0:
        return "the device lab needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"the device lab needs {', '.join(missing)}"
    if architecture != "amd64":
        compiler = f"{LINUX_ARCHITECTURES[architecture]}-g++"
        if shutil.which(compiler) is None:
            return f"the device lab needs {compiler}"
        if not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
            return "the device lab needs binfmt_misc with qemu-aarch64"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True
    )
    return f"the device lab needs namespaces: {probe.stderr.strip()}" if probe.returncode else None


def _system_root(architecture: str) -> Path:
    """A Debian root with adbd, made once and then kept in the temporary directory."""
    kept = Path(tempfile.gettempdir()) / f"ml-benchmark-device-lab-{getpass.getuser()}"
    kept.mkdir(mode=0o700, exist_ok=True)
    root = kept / f"root-{architecture}"
    with filelock.FileLock(kept / f"{architecture}.lock"):
        if not root.is_dir():
            with tempfile.TemporaryDirectory(dir=kept) as directory:
                made = Path(directory) / "root"
                _call(
                    *("mmdebstrap", "--quiet", "--mode=root", "--variant=extract"),
                    *(f"--arch={architecture}", f"--include={PACKAGES}", "trixie", str(made)),
                )
                made.rename(root)
        library = kept / f"properties-{architecture}.so"
        if not library.exists():
            compiler = "c++" if architecture == "amd64" else f"{LINUX_ARCHITECTURES[architecture]}-g++"
            _call(
                *(compiler, "-shared", "-fPIC", "-O1", "-static-libstdc++", "-static-libgcc"),
                *("-o", str(library), str(HERE / "properties.cc")),
            )
    return root


def _call(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
    return done.stdout


def _wait_for_port(address: str, port: int, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            with socket.create_connection((address, port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Host:
    """A machine of the lab: a network namespace with an address, and a process that serves in it."""

    def __init__(self, lab: DeviceLab, name: str, number: int) -> None:
        self.lab = lab
        self.name = name
        self.namespace = f"{lab.namespace}-{name}"
        self.address = f"{NETWORK}.{10 + number}"
        self.directory = lab.directory / name
        self.directory.mkdir()
        self._plug = f"p{number}"
        self._server: subprocess.Popen[bytes] | None = None
        self._mounts: list[Path] = []
        _call("ip", "netns", "add", self.namespace)
        _call("ip", "-n", self.namespace, "link", "set", "lo", "up")
        _call(
            *("ip", "-n", lab.namespace, "link", "add", self._plug, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.namespace),
        )
        _call("ip", "-n", lab.namespace, "link", "set", self._plug, "master", "bridge", "up")
        _call("ip", "-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _call("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    def cut(self) -> None:
        """Packets to and from it vanish, as with a cable that is drawn."""
        _call("ip", "-n", self.lab.namespace, "link", "set", self._plug, "down")

    def mend(self) -> None:
        _call("ip", "-n", self.lab.namespace, "link", "set", self._plug, "up")

    def kill(self, program: str) -> None:
        """Its processes of this name, at once."""
        for pid in _call("ip", "netns", "pids", self.namespace).split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == program:
                    os.kill(int(pid), signal.SIGKILL)

    def pids(self, text: str) -> dict[int, str]:
        """Its processes whose command lines hold ``text``, with these."""
        lines = {}
        for pid in _call("ip", "netns", "pids", self.namespace).split():
            with suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                lines[int(pid)] = line
        return {pid: line for pid, line in lines.items() if text in line}

    def processes(self, text: str) -> list[str]:
        """The command lines of its processes that hold ``text``."""
        return [*self.pids(text).values()]

    def _make_disk(self, path: Path, size: str | None) -> None:
        """A directory; with a ``size`` (``3m``) no more goes into it."""
        path.mkdir(mode=0o777)
        if size:
            _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
            self._mounts.append(path)

    def stop(self) -> None:
        if self._server is not None:
            for pid in _call("ip", "netns", "pids", self.namespace).split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            self._server.kill()
            self._server.wait()
            self._server = None

    def close(self) -> None:
        self.stop()
        for path in self._mounts:
            _call("umount", str(path))
        subprocess.run(["ip", "netns", "delete", self.namespace], check=True)


class AndroidDevice(Host):
    def __init__(
        self, lab: DeviceLab, name: str, number: int, architecture: str, disk_size: str | None
    ) -> None:
        super().__init__(lab, name, number)
        self.serial = f"LAB{name.upper()}"
        self.model = f"Lab {architecture}"
        self.data = self.directory / "data"
        """/data/local/tmp of the device."""
        self.sys = self.directory / "sys"
        self._architecture = architecture
        self._make_disk(self.data, disk_size)
        self._write_system()
        self.start()

    def _write_system(self) -> None:
        stand_ins = self.directory / "system/system/bin"
        shutil.copytree(HERE / "stand_ins", stand_ins)
        for name in TOYBOX_COMMANDS:
            (stand_ins / name).symlink_to("/usr/bin/toybox")
        self.write_properties()
        for cpu in ("cpu0", "cpu1"):
            frequency = self.sys / f"devices/system/cpu/{cpu}/cpufreq"
            frequency.mkdir(parents=True)
            for name, value in {
                "scaling_governor": "schedutil",
                "scaling_available_governors": "schedutil performance powersave",
                "scaling_available_frequencies": "300000 1200000 1800000",
                "scaling_cur_freq": "1800000",
                "scaling_min_freq": "300000",
                "scaling_max_freq": "1800000",
                "cpuinfo_min_freq": "300000",
                "cpuinfo_max_freq": "1800000",
            }.items():
                (frequency / name).write_text(f"{value}\n")
        zone = self.sys / "class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu-0-0\n")
        self.set_temperature(31.0)
        self.set_battery(level=87, temperature=28.5, powered=True)

    def write_properties(self, **changed: str) -> None:
        properties = {
            "ro.product.name": "lab",
            "ro.product.model": self.model,
            "ro.product.device": "lab",
            "ro.product.manufacturer": "Nobody",
            "ro.product.cpu.abi": ABI[self._architecture],
            "ro.build.version.release": "14",
            "ro.build.version.sdk": "34",
            "ro.build.fingerprint": "nobody/lab/lab:14",
            "ro.serialno": self.serial,
            "ro.hardware": "lab",
            "sys.boot_completed": "1",
            **changed,
        }
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.directory / "system/system/build.prop").write_text(text)

    def set_temperature(self, celsius: float) -> None:
        (self.sys / "class/thermal/thermal_zone0/temp").write_text(f"{celsius * 1000:.0f}\n")

    def set_frequency_limit(self, khz: int) -> None:
        for cpu in ("cpu0", "cpu1"):
            (self.sys / f"devices/system/cpu/{cpu}/cpufreq/scaling_max_freq").write_text(f"{khz}\n")

    def frequency(self, name: str) -> str:
        return (self.sys / f"devices/system/cpu/cpu0/cpufreq/{name}").read_text().strip()

    def set_battery(self, *, level: int, temperature: float, powered: bool) -> None:
        state = self.data / ".state"
        state.mkdir(exist_ok=True)
        (state / "battery").write_text(
            "Current Battery Service state:\n"
            f"  AC powered: false\n  USB powered: {str(powered).lower()}\n  status: {2 if powered else 3}\n"
            f"  health: 2\n  present: true\n  level: {level}\n  scale: 100\n  voltage: 4213\n"
            f"  temperature: {temperature * 10:.0f}\n  technology: Li-ion\n"
        )
        (state / "thermalservice").write_text(
            "IsStatusOverride: false\nThermalEventListeners:\nThermal Status: 0\nCached temperatures:\n"
            "\tTemperature{mValue=31.2, mType=3, mName=skin, mStatus=0}\n"
        )
        (state / "power").write_text("POWER MANAGER (dumpsys power)\n  mWakefulness=Awake\n")

    def reboot(self) -> None:
        """As with its power button."""
        for pid in _call("ip", "netns", "pids", self.namespace).split():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/bash\0/opt/init.sh"):
                    Path(f"/proc/{pid}/root/run/reboot-request").touch()

    def start(self) -> None:
        root = self.lab.roots[self._architecture]
        self._log = (self.directory / "log").open("ab")
        self._server = subprocess.Popen(
            ["bash", str(HERE / "boot_device.sh")],
            env={
                "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
                "NAMESPACE": self.namespace,
                "ROOT": str(root),
                "WORK": str(self.directory),
                "FILES": str(HERE),
                "PROPERTIES_LIBRARY": str(root.parent / f"properties-{self._architecture}.so"),
            },
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            _wait_for_port(self.address, 5555)
        except OSError as error:
            self.stop()
            raise RuntimeError(f"{self.name}: {error}: {(self.directory / 'log').read_text()}") from error

    def close(self) -> None:
        super().close()
        self._log.close()


class LinuxHost(Host):
    """This machine's own system behind an sshd, with a separate home directory."""

    def __init__(
        self, lab: DeviceLab, name: str, number: int, *, banner: bool, disk_size: str | None
    ) -> None:
        super().__init__(lab, name, number)
        self.home = self.directory / "home"
        self._make_disk(self.home, disk_size)
        if banner:
            (self.home / ".bashrc").write_text("echo 'Welcome to the board'; echo 'No rush' >&2\n")
        self._configuration = self.directory / "sshd_config"
        self._configuration.write_text(
            "\n".join(
                [
                    "Port 22",
                    f"HostKey {lab.host_key}",
                    f"AuthorizedKeysFile {lab.user_key}.pub",
                    "PermitRootLogin yes",
                    "PasswordAuthentication no",
                    "KbdInteractiveAuthentication no",
                    "UsePAM no",
                    "StrictModes no",
                    "MaxSessions 100",
                    "Subsystem sftp internal-sftp",
                    f"PidFile {self.directory}/sshd.pid",
                    f"SetEnv HOME={self.home} XDG_CACHE_HOME={self.home}/.cache",
                    "",
                ]
            )
        )
        self.start()

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        passwd = self.directory / "passwd"
        lines = Path("/etc/passwd").read_text().splitlines()
        passwd.write_text(
            "".join(
                f"root:x:0:0:root:{self.home}:/bin/bash\n" if line.startswith("root:") else f"{line}\n"
                for line in lines
            )
        )
        machine_id = self.directory / "machine_id"
        machine_id.write_text(f"{self.name}\n")
        Path("/etc/machine-id").touch()
        script = (
            "mount --make-rprivate / && mount --bind "
            f"'{passwd}' /etc/passwd && mount --bind '{machine_id}' /etc/machine-id && mount -t proc proc /proc && exec /usr/sbin/sshd -D -e -f '{self._configuration}'"
        )
        self._log = (self.directory / "log").open("ab")
        self._server = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.namespace, "unshare", "--mount", "--pid", "--fork"),
                *("--kill-child", "bash", "-c", script),
            ],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        _wait_for_port(self.address, 22)

    def close(self) -> None:
        super().close()
        self._log.close()


class DeviceLab:
    """The network, and the devices attached to it. Use as a context manager, from the main thread."""

    def __init__(self, architectures: Sequence[str] = ("amd64",)) -> None:
        self._architectures = architectures
        self._stack = ExitStack()
        self._hosts = 0

    def __enter__(self) -> DeviceLab:
        self.roots = {name: _system_root(name) for name in self._architectures}  # needs the way out
        self.namespace = f"lab{os.getpid()}"
        with ExitStack() as stack:
            self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="device-lab-")))
            _call("ip", "netns", "add", self.namespace)
            stack.callback(_call, "ip", "netns", "delete", self.namespace)
            for argv in (
                ("link", "set", "lo", "up"),
                ("link", "add", "bridge", "type", "bridge"),
                ("addr", "add", f"{NETWORK}.1/24", "dev", "bridge"),
                ("link", "set", "bridge", "up"),
            ):
                _call("ip", "-n", self.namespace, *argv)
            self._make_keys()
            stack.enter_context(_inside(self.namespace))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make_keys(self) -> None:
        self.host_key = self.directory / "host_key"
        self.user_key = self.directory / "user_key"
        for key in (self.host_key, self.user_key):
            _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        self.ssh_configuration = self.directory / "ssh_config"
        self.known_hosts = self.directory / "known_hosts"
        public = (self.directory / "host_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"{NETWORK}.*,{WIRE_NETWORK}.* {' '.join(public)}\n")
        self.ssh_configuration.write_text(
            f"Host *\n  User root\n  IdentityFile {self.user_key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile none\n"
        )
        self.programs = self.directory / "bin"
        """To be first in PATH: ``ssh`` with this configuration, as it takes no home but the user's own."""
        self.programs.mkdir()
        ssh = self.programs / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.ssh_configuration} "$@"\n')
        ssh.chmod(0o755)

    def android(self, name: str, architecture: str = "amd64", disk_size: str | None = None) -> AndroidDevice:
        self._hosts += 1
        device = AndroidDevice(self, name, self._hosts, architecture, disk_size)
        self._stack.callback(device.close)
        return device

    def linux(self, name: str, *, banner: bool = False, disk_size: str | None = None) -> LinuxHost:
        self._hosts += 1
        host = LinuxHost(self, name, self._hosts, banner=banner, disk_size=disk_size)
        self._stack.callback(host.close)
        return host

    @contextmanager
    def adb_server(self, *devices: AndroidDevice):
        """Adb's own server, on its usual port, which holds the devices."""
        environment = {**os.environ, "HOME": str(self.directory)}
        with subprocess.Popen(
            ["adb", "nodaemon", "server"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                _wait_for_port("127.0.0.1", 5037)
                for one in devices:
                    subprocess.run(["adb", "connect", f"{one.address}:5555"], env=environment, check=True)
                yield
            finally:
                server.kill()

    @contextmanager
    def wire(self, host: Host, delay_ms: float, loss: float):
        """Another way to a host, slow and lossy; gives the host's address on it."""
        with subprocess.Popen(
            [
                *(sys.executable, str(HERE / "wire.py"), self.namespace, f"{WIRE_NETWORK}.1"),
                *(host.namespace, f"{WIRE_NETWORK}.2", str(delay_ms), str(loss)),
            ],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield f"{WIRE_NETWORK}.2"
            finally:
                process.kill()


@contextmanager
def _inside(namespace: str):
    """This thread, and every thread and process that it starts, is in the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter a network namespace")

    with (
        Path("/proc/thread-self/ns/net").open("rb") as own,
        Path(f"/var/run/netns/{namespace}").open("rb") as other,
    ):
        enter(other.fileno())
        try:
            yield
        finally:
            enter(own.fileno())
