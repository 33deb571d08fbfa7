"""Where weights come from, and what happens when the way there breaks."""

import dataclasses
import functools
import http.server
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_univrep.applications import find_weights, list_weights, weights_registry
from keras_univrep.applications.find_weights import cache_folder, checksum
from keras_univrep.applications.weights_registry import write_registry

NAME = "five_domains_teacher_eurosat"


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A cache and a package, empty but for a registry; and where the file really is."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    real = weights_registry.FOLDER / list_weights()[NAME].file
    folder = tmp_path / "package"
    entry = list_weights()[NAME]
    write_registry(folder, {NAME: entry})
    monkeypatch.setattr(weights_registry, "FOLDER", folder)
    return folder, entry, real


class _Server(http.server.BaseHTTPRequestHandler):
    def __init__(self, content, served, pause, *args):
        self.content, self.served, self.pause = content, served, pause
        super().__init__(*args)

    def do_GET(self):
        self.served.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        half = len(self.content) // 2
        try:
            self.wfile.write(self.content[:half])
            self.wfile.flush()
            time.sleep(self.pause)
            self.wfile.write(self.content[half:])
        except OSError:  # the client was killed
            pass

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """A function of a content that serves it, and returns its address and what was asked for."""
    servers = []

    def start(content, pause=0.0):
        served = []
        handler = functools.partial(_Server, content, served, pause)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/weights.h5", served

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def remote(folder, entry, url):
    entry = dataclasses.replace(entry, url=url)
    write_registry(folder, {NAME: entry})
    return entry


def kept():
    """Files and folders of the cache."""
    return (
        sorted(path.name for path in cache_folder().rglob("*")) if cache_folder().exists() else []
    )


def test_the_cache_comes_before_the_package(places):
    folder, entry, real = places
    (folder / entry.file).write_bytes(real.read_bytes())
    assert find_weights(NAME)[1] == folder / entry.file
    cache_folder().mkdir(parents=True)
    (cache_folder() / entry.file).write_bytes(real.read_bytes())
    assert find_weights(NAME)[1] == cache_folder() / entry.file
    assert str(cache_folder()).startswith(os.environ["KERAS_HOME"])


def test_an_altered_file_of_the_cache_is_refused_and_removed(places):
    folder, entry, real = places
    (folder / entry.file).write_bytes(real.read_bytes())
    cache_folder().mkdir(parents=True)
    (cache_folder() / entry.file).write_bytes(real.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="has been removed"):
        find_weights(NAME)
    assert not kept()
    assert find_weights(NAME)[1] == folder / entry.file


def after_the_first_look(monkeypatch, do):
    """Lets something happen between the first checksum and what follows from it."""
    module = importlib.import_module("keras_univrep.applications.find_weights")
    seen = []

    def look(path):
        found = checksum(path)
        if not seen:
            seen.append(path)
            do()
        return found

    monkeypatch.setattr(module, "checksum", look)


def test_an_altered_file_that_another_process_removes_is_refused_all_the_same(places, monkeypatch):
    folder, entry, real = places
    cached = cache_folder() / entry.file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"altered")
    after_the_first_look(monkeypatch, cached.unlink)
    with pytest.raises(ValueError, match="has been removed"):
        find_weights(NAME)
    assert not kept()


def test_an_altered_file_that_another_process_replaces_is_not_removed(places, monkeypatch):
    folder, entry, real = places
    cached = cache_folder() / entry.file
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"altered")
    after_the_first_look(monkeypatch, lambda: cached.write_bytes(real.read_bytes()))
    assert find_weights(NAME)[1] == cached
    assert checksum(cached) == entry.sha256 and kept() == [entry.file]


def test_eight_threads_that_find_an_altered_file_are_told_or_get_the_next(places):
    folder, entry, real = places
    (folder / entry.file).write_bytes(real.read_bytes())
    cached = cache_folder() / entry.file
    cached.parent.mkdir(parents=True)
    answers = []

    def find(start):
        start.wait()
        try:
            answers.append(find_weights(NAME)[1])
        except Exception as error:  # noqa: BLE001 - its kind is what is asked
            answers.append(type(error))

    for _ in range(5):
        cached.write_bytes(b"altered" * 100_000)
        start = threading.Barrier(8)
        threads = [threading.Thread(target=find, args=(start,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not kept()
    assert len(answers) == 40 and set(answers) <= {ValueError, folder / entry.file}
    assert ValueError in answers


def test_an_altered_or_missing_file_of_the_package_is_refused_and_left(places):
    folder, entry, real = places
    with pytest.raises(ValueError, match="no file at.*Install the package again"):
        find_weights(NAME)
    (folder / entry.file).write_bytes(real.read_bytes()[1:])
    with pytest.raises(ValueError, match="Install the package again"):
        find_weights(NAME)
    assert (folder / entry.file).exists()


def test_a_file_is_fetched_once_and_checked(places, serve):
    folder, entry, real = places
    url, served = serve(real.read_bytes())
    remote(folder, entry, url)
    for _ in range(2):
        assert checksum(find_weights(NAME)[1]) == entry.sha256
    assert len(served) == 1 and kept() == [entry.file]


@pytest.mark.parametrize("change", ["altered", "longer", "cut off"])
def test_a_wrong_download_is_refused_and_nothing_is_kept(change, places, serve):
    folder, entry, real = places
    content = real.read_bytes()
    content = {
        "altered": b"?" + content[1:], "longer": content + b"?", "cut off": content[:-1]
    }[change]  # fmt: skip
    remote(folder, entry, serve(content)[0])
    with pytest.raises(ValueError, match="Nothing was kept"):
        find_weights(NAME)
    assert not kept()


def test_an_address_without_a_server_leaves_nothing(places):
    folder, entry, _ = places
    remote(folder, entry, "http://127.0.0.1:9/weights.h5")
    with pytest.raises(OSError):
        find_weights(NAME)
    assert not kept()


def test_a_full_disk_leaves_nothing(places, serve, monkeypatch):
    folder, entry, real = places
    remote(folder, entry, serve(real.read_bytes())[0])
    path_open = pathlib.Path.open

    def full(path, mode="r", *args, **options):
        file = path_open(path, mode, *args, **options)
        if mode != "wb":
            return file

        class Disk:
            """Takes one block."""

            written = 0

            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, block):
                self.written += file.write(block)
                if self.written > 100_000:
                    raise OSError(28, "No space left on device")

        return Disk()

    monkeypatch.setattr(pathlib.Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        find_weights(NAME)
    monkeypatch.undo()
    assert not [path for path in folder.parent.rglob("*.h5")]


def test_eight_threads_that_fetch_at_once_all_get_the_file(places, serve):
    folder, entry, real = places
    remote(folder, entry, serve(real.read_bytes(), pause=0.2)[0])
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(checksum(find_weights(NAME)[1])))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [entry.sha256] * 8
    assert kept() == [entry.file]


FETCH = (
    "import pathlib, sys\n"
    "from keras_univrep.applications import find_weights, weights_registry\n"
    "weights_registry.FOLDER = pathlib.Path(sys.argv[1])\n"
    "print('ready', flush=True)\n"
    f"print(find_weights({NAME!r})[1], flush=True)\n"
)


def fetch(folder):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(folder)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_kill_while_fetching_leaves_no_file_and_the_next_fetch_works(places, serve):
    folder, entry, real = places
    url, served = serve(real.read_bytes(), pause=60.0)
    remote(folder, entry, url)
    process = fetch(folder)
    assert process.stdout.readline() == "ready\n"
    partial = []
    while not partial and process.poll() is None:
        time.sleep(0.05)
        partial = [path for path in cache_folder().rglob("*.h5") if path.stat().st_size]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert partial and not (cache_folder() / entry.file).exists()
    remote(folder, entry, serve(real.read_bytes())[0])
    assert checksum(find_weights(NAME)[1]) == entry.sha256


@pytest.mark.slow
def test_eight_processes_that_fetch_at_once_all_get_the_file(places, serve):
    folder, entry, real = places
    remote(folder, entry, serve(real.read_bytes(), pause=0.5)[0])
    processes = [fetch(folder) for _ in range(8)]
    answers = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert answers == [str(cache_folder() / entry.file)] * 8
    assert all(process.returncode == 0 for process in processes)
    assert checksum(cache_folder() / entry.file) == entry.sha256
