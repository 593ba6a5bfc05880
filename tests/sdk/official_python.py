"""The Python client's own test suite, unchanged but for the server's address, against an edge: nats-server and edge run
on free ports, configured as the suite's Centrifugo is, with its secret. Prints a line of JSON for every test that
failed and one for the sum; exits with 1 if there is any. A test that waits for something for ever ends after
``--seconds``.

Tests in ``HASTY`` end a connection as soon as another one was opened, and then expect what the first had asked for. They
run through a proxy that takes a while to open connections; otherwise they measure how busy the machine is.

The suite comes from the source distribution, fetched by pip once and kept beside the environment that runs this; a
file that is not the pinned one is refused. ``--fetch`` does no more than that.

    .tools/venv/bin/python3 tests/sdk/official_python.py --campana target/debug/campana
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

VERSION = "0.7.0"
SHA256 = "11252b45c3f6b6104cfb07fb0fcfc9d2d62832d2af14715dd16fdc5e9c6e5964"
ARCHIVE = f"centrifuge_python-{VERSION}.tar.gz"
KEPT = pathlib.Path(sys.prefix).parent / "suites"
# The suite's own; far too short for anything but tests.
SECRET = "secret"
ADDRESS = "localhost:8000"
# The only module that talks to a server.
LIVE = "tests.test_client."
HASTY = {LIVE + "TestAutoRecovery.test_auto_recovery"}
OPENING_SECONDS = 1
LIST = """
import unittest
def walk(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from walk(test)
        else:
            yield test.id()
print("\\n".join(walk(unittest.defaultTestLoader.discover("tests", top_level_dir="."))))
"""
# Runs the tests named after `seconds` and the report's path, and reports each as it begins and ends.
RUN = """
import faulthandler, json, sys, unittest
seconds, report = float(sys.argv[1]), open(sys.argv[2], "a")
class Result(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.begun = test.id()
        self.say("it waits for ever")
        faulthandler.dump_traceback_later(seconds, exit=True)
    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        bad = [text.strip().splitlines()[-1] for _, text in self.failures + self.errors]
        bad += ["skipped: " + text for _, text in self.skipped]
        bad += ["it should fail" for _ in self.unexpectedSuccesses]
        self.say(bad[0] if bad else None)
        for found in (self.failures, self.errors, self.skipped, self.unexpectedSuccesses):
            found.clear()
    def stopTestRun(self):
        # What a module needs is not there: none of its tests ran.
        for _, text in self.errors:
            for self.begun in sys.argv[3:]:
                self.say(text.strip().splitlines()[-1])
    def say(self, failure):
        print(json.dumps([self.begun, failure]), file=report, flush=True)
result = Result()
unittest.defaultTestLoader.loadTestsFromNames(sys.argv[3:]).run(result)
result.stopTestRun()
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fetch", action="store_true", help="only fetch the suite")
    parser.add_argument("--campana", help="the campana binary")
    parser.add_argument("--nats", default=os.environ.get("NATS_SERVER_BIN", "nats-server"))
    parser.add_argument("--seconds", type=float, default=90, help="for one test")
    parser.add_argument("--only", default="", help="text in the names of the tests to run")
    options = parser.parse_args()
    if not options.fetch and not options.campana:
        parser.error("--campana is needed")
    return options


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def slow_to_open(port):
    """The port of a proxy that lets every WebSocket wait before its handshake goes through."""
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(client):
        request = client.recv(65536)
        if b"upgrade: websocket" in request.lower():
            time.sleep(OPENING_SECONDS)
        server = socket.create_connection(("127.0.0.1", port))
        server.sendall(request)
        threading.Thread(target=copy, args=(server, client), daemon=True).start()
        copy(client, server)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def is_pinned(path):
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def fetch():
    """The archive, from the registry if it was not fetched before."""
    archive = KEPT / ARCHIVE
    if is_pinned(archive):
        return archive
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        pinned = pathlib.Path(folder) / "pinned.txt"
        pinned.write_text(f"centrifuge-python=={VERSION} --hash=sha256:{SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        pip += ["--require-hashes", "--no-binary", "centrifuge-python", "--dest", folder, "-r", str(pinned)]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        fetched = pathlib.Path(folder) / ARCHIVE
        if not is_pinned(fetched):
            sys.exit(f"{ARCHIVE} is not the pinned one")
        # In one step: whoever looks meanwhile sees all of it or nothing.
        fetched.replace(archive)
    return archive


def unpack(archive, suite, port):
    """The tests alone, so that they import the installed client, and with the edge's address."""
    with tarfile.open(archive) as packed:
        packed.extractall(suite, filter="data")
    unpacked = suite / ARCHIVE.removesuffix(".tar.gz")
    shutil.move(unpacked / "tests", suite / "tests")
    shutil.rmtree(unpacked)
    for path in (suite / "tests").glob("*.py"):
        path.write_text(path.read_text().replace(ADDRESS, f"127.0.0.1:{port}"))
    return suite


def start_edge(options, folder, nats_port, port):
    subscriber = '["subscriber"]'
    default = f'name = "", delta = true, history_size = 100, history_ttl_seconds = 300, publish = {subscriber}, '
    default += f"history = {subscriber}, presence = {subscriber}, track_presence = true, join_leave = true, "
    # One of the tests wants offsets without gaps.
    default += "force_push_join_leave = true, dense_offsets = true"
    small = f'name = "smallhistory", history_size = 2, history_ttl_seconds = 300, publish = {subscriber}, '
    small += f"history = {subscriber}"
    environment = {
        "CAMPANA__NATS__URL": f"nats://127.0.0.1:{nats_port}",
        "CAMPANA__AUTH__TOKEN_SECRET": SECRET,
        "CAMPANA__LISTEN__EDGE": str(port),
        "CAMPANA__LISTEN__OPS": "0",
        "CAMPANA__EDGE__TOKENS__ALLOW_SHORT_SECRET": "true",
        "CAMPANA__EDGE__TOKENS__REQUIRE_EXP": "false",
        "CAMPANA__EDGE__INBOX_CHANNEL": "false",
        "CAMPANA__EDGE__PERSONAL_CHANNEL": '{ enabled = true, namespace = "" }',
        "CAMPANA__EDGE__NAMESPACES": f"[{{ {default} }}, {{ {small} }}]",
    }
    program = str(pathlib.Path(options.campana).resolve())
    with (folder / "edge.out").open("w") as output, (folder / "edge.err").open("w") as errors:
        edge = subprocess.Popen(
            [program, "run", "--role", "edge"],
            cwd=folder,
            env=dict(os.environ, **environment),
            stdout=output,
            stderr=errors,
        )
    deadline = time.monotonic() + 60
    while "ready: " not in (folder / "edge.out").read_text():
        if edge.poll() is not None or time.monotonic() > deadline:
            edge.kill()
            edge.wait()
            sys.exit((folder / "edge.err").read_text())
        time.sleep(0.05)
    return edge


def run(suite, names, seconds, report):
    """What became of each test: a reason if it failed. One that waits for ever takes its process along; the rest
    runs in a new one."""
    outcome = {}
    while rest := [name for name in names if name not in outcome]:
        before = len(outcome)
        command = [sys.executable, "-c", RUN, str(seconds), str(report), *rest]
        with (report.parent / f"{report.name}.err").open("w") as errors:
            subprocess.run(command, cwd=suite, stdout=subprocess.DEVNULL, stderr=errors)
        outcome |= dict(json.loads(line) for line in report.read_text().splitlines()) if report.exists() else {}
        if len(outcome) == before:
            outcome |= {name: "it did not run" for name in rest}
    return outcome


def run_all(suite, hasty_suite, options):
    """What became of the tests that talk to the edge, and of the others."""
    listed = subprocess.run(
        [sys.executable, "-c", LIST], cwd=suite, capture_output=True, text=True, check=True
    ).stdout.split()
    listed = [name for name in listed if options.only in name]
    live = {name for name in listed if name.startswith(LIVE)}
    hasty, rest = live & HASTY, set(listed) - live

    def these(folder, chosen, report):
        return run(folder, [name for name in listed if name in chosen], options.seconds, folder / f"{report}.report")

    with ThreadPoolExecutor() as pool:
        others = pool.submit(these, suite, rest, "rest")
        # One after the other: all have the same user, and one of the tests counts who joins that user's channel.
        outcome = these(hasty_suite, hasty, "hasty") | these(suite, live - hasty, "live")
        return outcome, others.result()


def main():
    options = arguments()
    archive = fetch()
    if options.fetch:
        return 0
    folder = pathlib.Path(tempfile.mkdtemp(prefix="official-python-"))
    nats_port, port = free_port(), free_port()
    nats = edge = None
    try:
        suite = unpack(archive, folder / "suite", port)
        hasty_suite = unpack(archive, folder / "hasty", slow_to_open(port))
        nats = subprocess.Popen(
            [options.nats, "-a", "127.0.0.1", "-p", str(nats_port), "-js", "-sd", str(folder / "js")],
            stderr=subprocess.DEVNULL,
        )
        edge = start_edge(options, folder, nats_port, port)
        live, rest = run_all(suite, hasty_suite, options)
    finally:
        for process in (edge, nats):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    failed = {name: why for name, why in (live | rest).items() if why}
    for name, why in failed.items():
        print(json.dumps({"test": name, "failure": why}))
    # Of the tests without a server a module counts as one.
    modules = {name.rsplit(".", 2)[0] for name in rest}
    bad = {name.rsplit(".", 2)[0] if name in rest else name for name in failed}
    units = len(live) + len(modules)
    print(json.dumps({"units": units, "passed": units - len(bad), "tests": len(live) + len(rest), "failed": len(failed)}))
    return 1 if failed or not live else 0


sys.exit(main())
