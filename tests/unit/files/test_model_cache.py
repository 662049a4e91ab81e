import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import rich.progress

from benchmarking.errors import ChecksumError, DownloadError, ModelError, RunCancelledError
from benchmarking.files import model_cache
from benchmarking.files.download import DownloadLimits
from benchmarking.files.model_cache import ModelCache
from benchmarking.files.web import WebLimits, hide_credentials
from benchmarking.programs.process import Cancellation
from benchmarking.specs.expand import InputBlob, expand
from benchmarking.specs.location import Location
from benchmarking.specs.reader import read_benchmarks
from tests.support import http_server
from tests.support.http_server import content, packed, redirect, stalled, status, trickled, truncated

ROOT = Path(__file__).parents[3]
DATA = b"the weights of a model\n" * 5000
OTHER = b"other weights\n" * 5000
PATIENT = DownloadLimits(WebLimits(connect_s=60, silence_s=60), attempts=3, first_wait_s=0.01)
QUICK = DownloadLimits(WebLimits(connect_s=60, silence_s=1), attempts=3, first_wait_s=0.01)
"""For servers that fall silent. On a busy machine others may need a second as well."""


@pytest.fixture
def server():
    with http_server.running() as one:
        yield one


def case_of(directory, location, data=DATA, *, sha256=None, md5=None):
    file = {"filename": "init_net.pb", "location": location, "md5": md5 or hashlib.md5(data).hexdigest()}
    if sha256:
        file["sha256"] = sha256
    test = {"identifier": "x", "metric": "delay", "iter": 1, "inputs": {"data": {"shapes": [[1]]}}}
    spec = {"model": {"name": "tiny", "format": "caffe2", "files": {"init": file}}, "tests": [test]}
    path = directory / "tiny.json"
    path.write_text(json.dumps(spec, indent=2))
    return expand(read_benchmarks(path), None)[0]


@pytest.fixture
def resolve(tmp_path):
    """Resolves one case with a fresh cache object, as a new process would."""
    with Cancellation() as cancellation:

        def resolve_case(case, directory=tmp_path / "cache", limits=PATIENT):
            cache = ModelCache(directory, cancellation=cancellation, show_progress=False, limits=limits)
            return cache.resolve(case).files["init"]

        resolve_case.cancellation = cancellation
        yield resolve_case


def files_below(directory):
    """But for lock files, whose content nobody trusts."""
    return sorted(path.name for path in directory.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_a_download_is_kept_under_its_md5_and_not_fetched_again(tmp_path, server, resolve):
    case = case_of(tmp_path, server.on("/init", content(DATA)))
    path = resolve(case)
    assert path == tmp_path / f"cache/caffe2/tiny/init_net_{hashlib.md5(DATA).hexdigest()}.pb"
    assert path.read_bytes() == DATA
    assert resolve(case) == path
    assert server.requests["/init"] == 1
    assert files_below(tmp_path / "cache") == [path.name]


def test_local_files_are_copied_and_checked_too(tmp_path, resolve):
    (tmp_path / "init").write_bytes(DATA)
    assert resolve(case_of(tmp_path, "init")).read_bytes() == DATA
    (tmp_path / "init2").write_bytes(OTHER)
    with pytest.raises(ChecksumError):
        resolve(case_of(tmp_path, "init2", md5="0" * 32))
    with pytest.raises(DownloadError, match="there is no file"):
        resolve(case_of(tmp_path, "missing", OTHER))


def test_a_file_that_was_hashed_in_this_run_is_not_hashed_again(tmp_path, resolve):
    """Its copy is compared with it instead, so that a hash that is wrong goes unnoticed."""
    (tmp_path / "init").write_bytes(DATA)
    case = replace(case_of(tmp_path, "init", md5="0" * 32), are_hashes_new=True)
    copy = tmp_path / f"cache/caffe2/tiny/init_net_{'0' * 32}.pb"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(DATA)
    assert resolve(case) == copy
    for damaged in (DATA[:-1], DATA[:-1] + b"x"):
        copy.write_bytes(damaged)
        with pytest.raises(ChecksumError):
            resolve(case)
    copy.write_bytes(DATA)
    with pytest.raises(ChecksumError):
        resolve(replace(case, are_hashes_new=False))


def test_a_damaged_cached_file_is_fetched_again(tmp_path, server, resolve):
    case = case_of(tmp_path, server.on("/init", content(DATA)))
    path = resolve(case)
    path.write_bytes(DATA[:-1])
    assert resolve(case).read_bytes() == DATA
    assert server.requests["/init"] == 2


def test_a_file_that_is_another_is_refused_with_both_hashes_and_the_line_to_change(tmp_path, server, resolve):
    case = case_of(tmp_path, server.on("/init", content(OTHER)))
    specification = (tmp_path / "tiny.json").read_bytes()
    with pytest.raises(ChecksumError) as caught:
        resolve(case)
    message = str(caught.value)
    assert hashlib.md5(DATA).hexdigest() in message
    assert hashlib.md5(OTHER).hexdigest() in message
    lines = specification.decode().splitlines()
    number = next(number for number, line in enumerate(lines, 1) if '"md5"' in line)
    assert f"tiny.json:{number}:" in message
    assert (tmp_path / "tiny.json").read_bytes() == specification
    assert files_below(tmp_path / "cache") == []


def test_a_stale_file_is_not_trusted_when_the_server_has_none(tmp_path, server, resolve):
    case = case_of(tmp_path, server.url("/gone"))
    stale = tmp_path / f"cache/caffe2/tiny/init_net_{hashlib.md5(DATA).hexdigest()}.pb"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(OTHER)
    with pytest.raises(DownloadError, match="404"):
        resolve(case)
    assert server.requests["/gone"] == 1


def test_sha256_is_checked_when_it_is_given(tmp_path, server, resolve):
    url = server.on("/init", content(DATA))
    digest = hashlib.sha256(DATA).hexdigest()
    assert resolve(case_of(tmp_path, url, sha256=digest.upper()))
    with pytest.raises(ChecksumError, match=f"sha256 is {'0' * 64}.*{digest}"):
        resolve(case_of(tmp_path, url, sha256="0" * 64))


@pytest.mark.parametrize(
    ("trouble", "limits"),
    [
        (status(500), PATIENT),
        (status(503, Retry_After="0"), PATIENT),
        (status(429), PATIENT),
        (truncated(DATA, 100), PATIENT),
        (http_server.reset, PATIENT),
        (stalled(DATA, 10), QUICK),
    ],
    ids=["500", "503", "429", "truncated", "reset", "stalled"],
)
def test_what_passes_is_tried_again(tmp_path, server, resolve, trouble, limits):
    url = server.on("/init", trouble, trouble, content(DATA))
    assert resolve(case_of(tmp_path, url), limits=limits).read_bytes() == DATA
    assert server.requests["/init"] == 3


@pytest.mark.parametrize(
    ("trouble", "limits", "part"),
    [
        (status(500), PATIENT, "500"),
        (truncated(DATA, 100), PATIENT, "IncompleteRead|of 115000 bytes"),
        (http_server.reset, PATIENT, "reset|aborted"),
        (stalled(DATA, 10), QUICK, "timed out"),
    ],
    ids=["500", "truncated", "reset", "stalled"],
)
def test_what_does_not_pass_is_given_up_and_nothing_is_kept(tmp_path, server, resolve, trouble, limits, part):
    case = case_of(tmp_path, server.on("/init", trouble))
    with pytest.raises(DownloadError, match=part) as caught:
        resolve(case, limits=limits)
    assert "3 attempts" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.requests["/init"] == 3
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_what_will_not_pass_is_not_tried_again(tmp_path, server, resolve, code):
    with pytest.raises(DownloadError, match=f"{code}.*is the location right"):
        resolve(case_of(tmp_path, server.on("/init", status(code))))
    assert server.requests["/init"] == 1


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_the_statuses_that_are_tried_again_and_how_often(tmp_path, server, resolve, code):
    with pytest.raises(DownloadError, match=f"{code} .*gave up after 3 attempts"):
        resolve(case_of(tmp_path, server.on("/init", status(code))))
    assert server.requests["/init"] == 3


@pytest.mark.parametrize("code", [201, 204, 206, 400, 401, 403, 404, 409, 410, 418, 501, 505])
def test_the_statuses_that_are_not_tried_again(tmp_path, server, resolve, code):
    with pytest.raises(DownloadError, match=f"answered {code}"):
        resolve(case_of(tmp_path, server.on("/init", status(code))))
    assert server.requests["/init"] == 1


def test_an_object_that_is_stored_gzipped_is_the_file_that_has_the_right_hash(tmp_path, server, resolve):
    url = server.on("/init", packed(DATA))
    assert resolve(case_of(tmp_path, url)).read_bytes() == DATA
    raw = gzip.compress(DATA, mtime=0)
    url = server.on("/packed", packed(b"", body=raw))
    assert resolve(case_of(tmp_path, url, raw)).read_bytes() == raw
    with pytest.raises(ChecksumError, match="md5 is"):
        resolve(case_of(tmp_path, url, OTHER))
    url = server.on("/damaged", packed(b"", body=raw[:-20]))
    with pytest.raises(ChecksumError, match="md5 is"):
        resolve(case_of(tmp_path, url, OTHER))


def test_an_input_that_is_stored_gzipped_is_unpacked(tmp_path, server):
    case = case_of(tmp_path, "x")
    with Cancellation() as cancellation:
        cache = ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False, limits=PATIENT)
        location = Location(server.on("/input", packed(b"1\n2\n")))
        assert cache.local_file(location, case).read_bytes() == b"1\n2\n"
        location = Location(server.on("/damaged", packed(b"", body=gzip.compress(b"1\n")[:-4])))
        with pytest.raises(DownloadError, match="ends early"):
            cache.local_file(location, case)


def test_a_small_answer_that_unpacks_to_too_much_writes_nothing(tmp_path, server, resolve):
    case = case_of(tmp_path, server.on("/init", packed(bytes(2**26))))
    limits = DownloadLimits(WebLimits(connect_s=60, silence_s=60, size_bytes=2**24), attempts=1)
    with pytest.raises(ChecksumError):
        resolve(case, limits=limits)
    assert files_below(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"<html><title>Sign in</title></html>", ["a web page ('Sign in')", "sign-in"]),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<head>\x1b[31m", ["a web page, not the file"]),
        (b"<!-- a -->\n<HTML lang=en><title>\x1b[31mx", ["a web page ('?[31mx')"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", ["Git LFS", "git lfs pull"]),
    ],
)
def test_what_is_often_found_in_a_files_place_is_named(tmp_path, server, resolve, body, parts):
    url = server.on("/init", content(body))
    with pytest.raises(DownloadError) as caught:
        resolve(case_of(tmp_path, url))
    assert all(part in str(caught.value) for part in (url, *parts)), caught.value
    assert str(caught.value).isprintable()
    assert resolve(case_of(tmp_path, url, body)).read_bytes() == body  # where it is what was meant
    with Cancellation() as cancellation:
        cache = ModelCache(tmp_path / "other", cancellation=cancellation, show_progress=False, limits=PATIENT)
        with pytest.raises(DownloadError, match="not the file"):
            cache.local_file(Location(url), case_of(tmp_path, url))


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_a_location_that_is_not_a_file(tmp_path, resolve, kind):
    path = tmp_path / "init"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(DownloadError, match="is not a file"):
        resolve(case_of(tmp_path, "init"))


def test_redirects_are_followed_but_not_in_circles_and_not_to_files(tmp_path, server, resolve):
    server.on("/target", content(DATA))
    assert resolve(case_of(tmp_path, server.on("/init", redirect("/target"))))
    with pytest.raises(DownloadError, match="redirects"):
        resolve(case_of(tmp_path, server.on("/circle", redirect("/circle")), OTHER))
    secret = tmp_path / "secret"
    secret.write_bytes(OTHER)
    with pytest.raises(DownloadError):
        resolve(case_of(tmp_path, server.on("/file", redirect(f"file://{secret}")), OTHER))


def test_a_server_that_is_not_there(tmp_path, resolve):
    with pytest.raises(DownloadError, match="refused"):
        resolve(case_of(tmp_path, "http://127.0.0.1:9/init"))


def test_a_failure_is_remembered_within_a_run(tmp_path, server):
    case = case_of(tmp_path, server.on("/init", status(404)))
    with Cancellation() as cancellation:
        cache = ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False, limits=PATIENT)
        for _ in range(3):
            with pytest.raises(DownloadError):
                cache.resolve(case)
    assert server.requests["/init"] == 1


def test_input_files_from_a_server_are_fetched_once_per_run(tmp_path, server):
    case = case_of(tmp_path, "x")
    location = Location(server.on("/input.txt", content(b"1\n")))
    with Cancellation() as cancellation:
        for _ in range(2):
            cache = ModelCache(
                tmp_path / "cache", cancellation=cancellation, show_progress=False, limits=PATIENT
            )
            assert cache.local_file(location, case).read_bytes() == b"1\n"
            assert cache.local_file(location, case).name.endswith("_input.txt")
        signed = Location(server.on("/signed.txt", content(b"2\n")) + "?signature=a.b")
        assert cache.local_file(signed, case).name.endswith("_signed.txt")
        server.on(f"/{quote('雪' * 100)}.txt", content(b"3\n"))
        long = Location(server.on(f"/{'雪' * 100}.txt", content(b"3\n")))
        assert cache.local_file(long, case).name.endswith("_" + "雪" * 32 + ".txt")
        with pytest.raises(ModelError, match=r"there is no file .*nonesuch.*\$\.tests\[0\]"):
            cache.local_file(Location(str(tmp_path / "nonesuch")), case)
    assert server.requests["/input.txt"] == 2


@pytest.mark.parametrize("wait_for", ["download", "silence", "retry", "lock"])
def test_a_cancellation_ends_every_wait(tmp_path, server, resolve, wait_for):
    steps = {
        "download": trickled(DATA, 0.05),
        "silence": stalled(DATA, 10),
        "retry": status(503, Retry_After="50"),
        "lock": trickled(DATA, 0.05),
    }
    case = case_of(tmp_path, server.on("/init", steps[wait_for]))
    if wait_for == "lock":
        import filelock

        directory = tmp_path / "cache/caffe2/tiny"
        directory.mkdir(parents=True)
        lock = filelock.FileLock(directory / f"init_net_{hashlib.md5(DATA).hexdigest()}.pb.lock")
        lock.acquire()
    threading.Timer(0.3, resolve.cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(RunCancelledError):
        resolve(case, limits=DownloadLimits())
    assert time.monotonic() - started < 20  # far below the limits: what waits was woken
    assert files_below(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_used(tmp_path, server, resolve):
    case = case_of(tmp_path, server.on("/init", content(DATA)))
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="--model_cache"):
        resolve(case, tmp_path / "file")


CHILD = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from benchmarking.files.model_cache import ModelCache
from benchmarking.programs.process import Cancellation
from benchmarking.specs.expand import InputBlob, expand
from benchmarking.specs.reader import read_benchmarks
{prelude}
case = expand(read_benchmarks(Path({spec!r})), None)[0]
with Cancellation() as cancellation:
    cache = ModelCache(Path({cache!r}), cancellation=cancellation, show_progress=False)
    import requests, tenacity, filelock
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        cache.resolve(case)
    except Exception as error:
        print(type(error).__name__, error)
        sys.exit(1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def child(tmp_path, cache="cache", prelude=""):
    code = CHILD.format(
        root=str(ROOT), spec=str(tmp_path / "tiny.json"), cache=str(tmp_path / cache), prelude=prelude
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_download_once(tmp_path, server):
    case_of(tmp_path, server.on("/init", trickled(DATA, 0.005)))
    processes = [child(tmp_path) for _ in range(3)]
    assert [process.communicate()[1] or process.returncode for process in processes] == [0, 0, 0]
    assert server.requests["/init"] == 1


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
def test_a_process_killed_in_the_middle_leaves_nothing_that_is_trusted(tmp_path, server, resolve, delay_s):
    case = case_of(tmp_path, server.on("/init", trickled(DATA, 0.02), content(DATA)))
    process = child(tmp_path)
    assert server.reached.wait(30)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "cache").rglob("init_net_*.pb"))
    assert resolve(case).read_bytes() == DATA


def test_leftovers_of_killed_processes_go_when_they_are_old(tmp_path, server, resolve):
    directory = tmp_path / "cache/caffe2/tiny"
    directory.mkdir(parents=True)
    for name, age_s in (("old", 7200), ("new", 0)):
        path = directory / f".tmp-{name}"
        path.write_text("")
        os.utime(path, (time.time() - age_s,) * 2)
    resolve(case_of(tmp_path, server.on("/init", content(DATA))))
    assert not (directory / ".tmp-old").exists()
    assert (directory / ".tmp-new").exists()


@pytest.fixture
def as_somebody_else():
    """What another user may only read; root may write anywhere, so it becomes nobody for a while."""
    directory = Path(tempfile.mkdtemp(prefix="bench-shared-"))
    directory.chmod(0o755)

    @contextmanager
    def act():
        for path in directory.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        directory.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if is_root:
                os.seteuid(0)

    yield directory, act
    for path in (directory, *directory.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(directory)


@pytest.mark.parametrize("locks", ["kept", "removed"])
def test_a_complete_cache_that_may_only_be_read_is_used(server, resolve, as_somebody_else, locks):
    directory, act = as_somebody_else
    case = case_of(directory, server.on("/init", content(DATA)))
    path = resolve(case, directory / "cache")
    (path.parent / ".tmp-of-another").write_text("")
    os.utime(path.parent / ".tmp-of-another", (0, 0))
    if locks == "removed":
        path.with_name(f"{path.name}.lock").unlink()
    with act():
        assert resolve(case, directory / "cache") == path
    assert server.requests["/init"] == 1


def test_a_file_that_a_read_only_cache_lacks_is_reported(server, resolve, as_somebody_else):
    directory, act = as_somebody_else
    path = resolve(case_of(directory, server.on("/init", content(DATA))), directory / "cache")
    case = case_of(directory, server.on("/other", content(OTHER)), OTHER)
    with (
        act(),
        pytest.raises(
            DownloadError, match=r"cannot be used: .*Permission denied; choose another with --model_cache"
        ),
    ):
        resolve(case, directory / "cache")
    assert path.read_bytes() == DATA


def test_inputs_are_fetched_beside_a_cache_that_may_only_be_read(server, resolve, as_somebody_else):
    directory, act = as_somebody_else
    case = case_of(directory, server.on("/init", content(DATA)))
    resolve(case, directory / "cache")
    location = Location(server.on("/input.txt", content(b"1\n")))
    with act(), Cancellation() as cancellation:
        cache = ModelCache(
            directory / "cache", cancellation=cancellation, show_progress=False, limits=PATIENT
        )
        path = cache.local_file(location, case)
        assert path.read_bytes() == b"1\n"
        assert directory not in path.parents
        del cache
    assert not path.exists()


def test_odd_leftovers_of_others_do_no_harm(tmp_path, server, resolve):
    directory = tmp_path / "cache/caffe2/tiny"
    (directory / ".tmp-directory").mkdir(parents=True)
    (directory / ".tmp-link").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("x")
    for path in (directory / ".tmp-directory", directory / ".tmp-link"):
        os.utime(path, (0, 0), follow_symlinks=False)
    resolve(case_of(tmp_path, server.on("/init", content(DATA))))
    assert (tmp_path / "precious").exists()
    assert (directory / ".tmp-directory").is_dir()


def test_a_disk_that_is_full(tmp_path, server):
    """A limit on the size of files simulates the full disk: the write also fails in the middle."""
    case_of(tmp_path, server.on("/init", content(DATA)))
    prelude = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))"
    output, _ = (process := child(tmp_path, prelude=prelude)).communicate()
    assert process.returncode == 1
    assert output.startswith("DownloadError cannot store")
    assert "--model_cache" in output
    assert files_below(tmp_path / "cache") == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root to mount a small disk")
def test_a_real_disk_that_is_full(tmp_path, server):
    case_of(tmp_path, server.on("/init", content(DATA)))
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode()}")
    try:
        output, _ = (process := child(tmp_path, cache="small/cache")).communicate()
        assert process.returncode == 1
        assert "No space left on device" in output
        assert files_below(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_large_download_does_not_fill_the_memory(tmp_path, server):
    block, count = b"x" * 2**20, 200
    digest = hashlib.md5()
    for _ in range(count):
        digest.update(block)
    case_of(tmp_path, server.on("/init", http_server.generated(block, count)), md5=digest.hexdigest())
    output, _ = (process := child(tmp_path)).communicate()
    assert process.returncode == 0
    kilobytes = int(output) if sys.platform != "darwin" else int(output) // 1024
    assert kilobytes < 20 * 1024


def test_a_cache_in_a_git_directory_is_reported(tmp_path, caplog):
    (tmp_path / ".git").mkdir()
    with Cancellation() as cancellation:
        ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False)
    assert "--model_cache" in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/x", "https://***@host/x"),
        ("https://host/x?token=abc&y=1#z", "https://host/x?token=***&y=***"),
        ("cannot get http://u:p@h:1/x now", "cannot get http://***@h:1/x now"),
    ],
)
def test_credentials_in_urls_are_not_shown(text, shown):
    assert hide_credentials(text) == shown


def test_messages_hide_credentials(tmp_path, server, resolve, caplog):
    url = server.on("/init", status(500)).replace("http://", "http://user:s3cret@") + "?key=s3cret"
    with pytest.raises(DownloadError) as caught:
        resolve(case_of(tmp_path, url))
    assert "s3cret" not in str(caught.value) + caplog.text
    assert "***" in str(caught.value)


# --- weights beside a model ---------------------------------------------------------------------------------


def case_with_data(directory, **more):
    """A model file whose weights lie in ``weights.data``."""
    (directory / "model.onnx").write_bytes(b"model")
    files = {"model": {"filename": "model.onnx", "location": "model.onnx"} | more.pop("model", {})}
    test = {"identifier": "x", "metric": "delay", "iter": 1, "inputs": {"data": {"shapes": [[1]]}}}
    spec = {"model": {"name": "tiny", "format": "onnx", "files": files | more}, "tests": [test]}
    path = directory / "tiny.json"
    path.write_text(json.dumps(spec, indent=2))
    return expand(read_benchmarks(path), None)[0]


@pytest.fixture
def cache(tmp_path):
    with Cancellation() as cancellation:
        yield ModelCache(tmp_path / "cache", cancellation=cancellation, show_progress=False, limits=PATIENT)


@pytest.mark.parametrize("name", ["\N{PILE OF POO}" * 60 + ".data", f"a.{'x' * 250}", "x" * 255])
def test_weights_may_have_the_longest_names(tmp_path, cache, name):
    case = case_with_data(tmp_path)
    (tmp_path / name).write_bytes(b"weights")
    _, data = cache.with_data(case, "model", [name])
    assert (data.name, data.read_bytes()) == (name, b"weights")


def test_weights_are_kept_beside_the_model_that_refers_to_them(tmp_path, cache):
    case = case_with_data(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"first")
    first = cache.with_data(case, "model", ["weights.data"])
    assert [(path.name, path.read_bytes()) for path in first] == [
        ("model.onnx", b"model"),
        ("weights.data", b"first"),
    ]
    assert len({path.parent for path in first}) == 1
    assert cache.with_data(case, "model", ["weights.data"]) == first
    (tmp_path / "other").mkdir()
    other = case_with_data(tmp_path / "other")
    (tmp_path / "other/weights.data").write_bytes(b"second")
    second = cache.with_data(other, "model", ["weights.data"])
    assert (first[1].read_bytes(), second[1].read_bytes()) == (b"first", b"second")


def test_weights_that_a_specification_lists_are_checked(tmp_path, cache, server):
    url = server.on("/w", content(DATA))
    weights = {"filename": "weights.data", "location": url, "md5": hashlib.md5(DATA).hexdigest()}
    _, data = cache.with_data(case_with_data(tmp_path, weights=weights), "model", ["weights.data"])
    assert data.read_bytes() == DATA
    weights["md5"] = "0" * 32
    with pytest.raises(ChecksumError):
        cache.with_data(case_with_data(tmp_path, weights=weights), "model", ["weights.data"])


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        *((one, "is not next to it") for one in ("../secret", "/etc/passwd", "a/b", ".", "..", "", "a\0b")),
        ("link", "is outside the directory"),
        ("missing", "there is no file"),
    ],
)
def test_weights_elsewhere_are_never_read(tmp_path, cache, name, refusal):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret").write_text("secret")
    (inner / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match=refusal):
        cache.with_data(case_with_data(inner), "model", [name])
    assert "secret" not in files_below(tmp_path / "cache")


def test_weights_of_a_model_on_a_server_are_listed(tmp_path, cache, server):
    url = server.on("/model", content(b"model"))
    case = case_with_data(tmp_path, model={"location": url, "md5": hashlib.md5(b"model").hexdigest()})
    with pytest.raises(ModelError, match=r"add that file to \$.model.files with its location and md5"):
        cache.with_data(case, "model", ["weights.data"])


def test_inputs_of_a_cache_that_cannot_be_written_are_kept_for_this_run_only(tmp_path, cache, monkeypatch):
    case = case_with_data(tmp_path)
    usual = cache._input_directory(case)
    assert usual.is_relative_to(tmp_path / "cache")
    monkeypatch.setattr(os, "access", lambda path, *_, **__: path != usual)
    assert not cache._input_directory(case).is_relative_to(tmp_path / "cache")
    usual.rmdir()
    assert cache._input_directory(case) == usual
    assert usual.is_dir()


@pytest.mark.parametrize("has_links", [True, False])
def test_what_lies_together_is_replaced_if_it_is_another_file(tmp_path, cache, monkeypatch, has_links):
    if not has_links:

        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    case = case_with_data(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"weights")
    model, data = cache.with_data(case, "model", ["weights.data"])
    assert (model.read_bytes(), data.read_bytes()) == (b"model", b"weights")
    assert (data.stat().st_nlink > 1) == has_links
    data.unlink()
    data.write_bytes(b"damaged")
    assert cache.with_data(case, "model", ["weights.data"]) == (model, data)
    assert data.read_bytes() == b"weights"
    assert (data.stat().st_nlink > 1) == has_links


@pytest.mark.parametrize("has_links", [True, False])
def test_what_lies_together_is_always_there(tmp_path, cache, monkeypatch, has_links):
    """Another process may be reading it."""
    case = case_with_data(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"weights")
    _, data = cache.with_data(case, "model", ["weights.data"])
    data.unlink()
    data.write_bytes(b"damaged")
    link = Path.hardlink_to
    found = []

    def linking(self, source):
        found.append(data.read_bytes())
        if not has_links:
            raise PermissionError(1, "Operation not permitted")
        link(self, source)

    monkeypatch.setattr(Path, "hardlink_to", linking)
    cache.with_data(case, "model", ["weights.data"])
    assert (found, data.read_bytes()) == ([b"damaged"], b"weights")
    assert sorted(path.name for path in data.parent.iterdir()) == ["model.onnx", "weights.data"]


def test_a_file_that_lies_together_already_is_left_alone(tmp_path, cache, monkeypatch):
    case = case_with_data(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"weights")
    model, _ = cache.with_data(case, "model", ["weights.data"])
    monkeypatch.setattr(Path, "hardlink_to", None)  # which nobody can call
    assert cache.with_data(case, "model", ["weights.data"])[0] == model


def test_files_that_cannot_be_put_together_are_the_caches_fault(tmp_path, cache):
    case = case_with_data(tmp_path)
    (tmp_path / "weights.data").write_bytes(b"weights")
    model, _ = cache.with_data(case, "model", ["weights.data"])
    model.unlink()
    (model / "in the way").mkdir(parents=True)
    with pytest.raises(DownloadError) as caught:
        cache.with_data(case, "model", ["weights.data"])
    assert str(caught.value).startswith(f"the model cache cannot be used: {model.parent}: ")
    assert str(caught.value).endswith("; choose another with --model_cache")


def test_an_input_with_a_hash_is_checked(tmp_path, cache):
    case = case_with_data(tmp_path)
    path = tmp_path / "input.txt"
    path.write_bytes(DATA)
    location, md5 = Location(str(path)), hashlib.md5(DATA).hexdigest()
    assert cache.local_file(location, case, md5.upper()) == path
    assert cache.local_file(location, case) == path
    with pytest.raises(ChecksumError) as caught:
        cache.local_file(location, case, "0" * 32)
    assert str(caught.value).endswith(f": md5 is {'0' * 32}, but {path} has {md5}")
    assert str(case.specification) in str(caught.value)


def test_files_that_cannot_be_read_to_the_end_are_named(tmp_path, cache, monkeypatch):
    """As of a disk that fails: root may read everything else."""
    (tmp_path / "input.txt").write_bytes(b"x")
    case = case_with_data(tmp_path)

    def fail(path, **_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(model_cache, "_hash_file", fail)
    with pytest.raises(DownloadError, match=r"^cannot read .*/input\.txt: Input/output error$"):
        cache.local_file(Location(str(tmp_path / "input.txt")), case, "0" * 32)
    monkeypatch.setattr(model_cache, "_refuse_stand_ins", fail_to_read)
    with pytest.raises(DownloadError, match=r"^cannot read .*/model\.onnx: Input/output error$"):
        cache.resolve(case)


def fail_to_read(stream, location):
    raise OSError(5, "Input/output error")


def test_an_input_is_made_once_in_a_run(tmp_path, cache):
    case = case_with_data(tmp_path)
    (tmp_path / "input.txt").write_text("1 2 3")
    given = InputBlob("a", (3,), "float", file=Location(str(tmp_path / "input.txt")))
    np.save(tmp_path / "input.npy", np.array([1, 2, 3], np.int64))
    made = InputBlob("a", (3,), "float", file=Location(str(tmp_path / "input.npy")))
    assert cache.input_file(InputBlob("a", (3,), "float"), case) is None
    assert cache.input_file(given, case) == tmp_path / "input.txt"
    first = cache.input_file(made, case)
    assert np.load(first).tolist() == [1, 2, 3]
    assert np.load(first).dtype == np.float32
    other = cache.input_file(replace(made, name="b"), case)
    assert other != first
    (tmp_path / "input.npy").write_bytes(b"changed")
    assert cache.input_file(made, case) == first


def test_the_progress_of_a_download_is_that_of_the_attempt(monkeypatch):
    """rich shows nothing if stderr is not a terminal, so its bar itself is inspected."""
    seen = []

    class Progress(rich.progress.Progress):
        def __init__(self, *columns, **options):
            assert (options["transient"], type(options["console"]).__name__) == (True, "PlainConsole")
            super().__init__(*columns, **options)
            seen.append(self)

    monkeypatch.setattr(rich.progress, "Progress", Progress)
    with model_cache._Sink(io.BytesIO(), "model.onnx", with_sha256=False) as sink:
        sink.take(b"before its length is known")
        assert seen == []
        sink.restart(7)
        sink.take(b"12345")
        sink.restart(6)
        sink.take(b"1234")
        assert [len(one.tasks) for one in seen] == [1, 1]
        first, second = (one.tasks[0] for one in seen)
        assert (first.description, first.completed, first.total) == ("model.onnx", 5, 7)
        assert (second.completed, second.total) == (4, 6)
        assert not seen[0].live.is_started
        assert seen[1].live.is_started
    assert not seen[1].live.is_started


@pytest.mark.parametrize(("name", "length"), [(None, 7), ("model.onnx", None)])
def test_without_a_name_or_a_length_there_is_no_progress(monkeypatch, name, length):
    monkeypatch.setattr(model_cache._Sink, "_start_progress", None)
    with model_cache._Sink(io.BytesIO(), name, with_sha256=False) as sink:
        sink.restart(length)
        sink.take(b"1234")
        assert sink.digests().md5 == hashlib.md5(b"1234").hexdigest()


def test_a_cached_file_that_cannot_be_read_is_fetched_again(tmp_path, resolve, caplog, monkeypatch):
    (tmp_path / "init").write_bytes(DATA)
    case = case_of(tmp_path, "init")
    path = resolve(case)
    hash_file = model_cache._hash_file

    def fail_once(wanted, **options):
        if wanted == path and not caplog.messages:
            raise OSError(5, "Input/output error")
        return hash_file(wanted, **options)

    monkeypatch.setattr(model_cache, "_hash_file", fail_once)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    assert resolve(case).read_bytes() == DATA
    assert f"{path} cannot be read (Input/output error): downloading it again" in caplog.messages
