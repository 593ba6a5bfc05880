"""The Python client's own test suite against an edge: fetches its source distribution (pinned by hash, through
pip), starts a nats-server and an edge on free ports, and runs every test by itself, so that one that waits for
something for ever ends after ``--seconds``. Prints one line per test and the sum; exits with 1 if the outcome
is not what is expected.

The suite is changed in two places only: the address of the server, and the secret of the tokens, because ours
must have 32 bytes.

    .tools/venv/bin/python3 tests/sdk/official_python.py --campana target/debug/campana
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

VERSION = "0.7.0"
SHA256 = "11252b45c3f6b6104cfb07fb0fcfc9d2d62832d2af14715dd16fdc5e9c6e5964"
SECRET = "a secret that the tests and the edge share"
LIVE = "tests.test_client."
# What the edge does not do yet, by the reason.
EXPECTED_FAILURES = {
    "TestAutoRecovery.test_auto_recovery": "asks for offsets 1, 2, 3 in every channel",
}
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


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campana", required=True, help="the campana binary")
    parser.add_argument("--nats", default=os.environ.get("NATS_SERVER_BIN", "nats-server"))
    parser.add_argument("--seconds", type=float, default=20, help="for one test of the live ones")
    return parser.parse_args()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(folder):
    """The suite as published, unpacked."""
    pinned = folder / "pinned.txt"
    pinned.write_text(f"centrifuge-python=={VERSION} --hash=sha256:{SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    pip += ["--no-binary", "centrifuge-python", "--dest", str(folder), "-r", str(pinned)]
    subprocess.run(pip, check=True)
    archive = folder / f"centrifuge_python-{VERSION}.tar.gz"
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / f"centrifuge_python-{VERSION}" / "tests"


def adapt(tests, port):
    for path in tests.glob("*.py"):
        text = path.read_text()
        text = text.replace("localhost:8000", f"127.0.0.1:{port}")
        text = text.replace('hmac_secret = "secret"', f'hmac_secret = "{SECRET}"')
        path.write_text(text)


def start_edge(options, folder, nats_port, port):
    namespaces = '[{ name = "", history_size = 100, publish = ["subscriber"], presence = ["subscriber"], '
    namespaces += 'track_presence = true, join_leave = true, force_push_join_leave = true }, '
    namespaces += '{ name = "smallhistory", history_size = 2, publish = ["subscriber"] }]'
    environment = {
        "CAMPANA__NATS__URL": f"nats://127.0.0.1:{nats_port}",
        "CAMPANA__AUTH__TOKEN_SECRET": SECRET,
        "CAMPANA__LISTEN__EDGE": str(port),
        "CAMPANA__LISTEN__OPS": "0",
        "CAMPANA__EDGE__TOKENS__REQUIRE_EXP": "false",
        "CAMPANA__EDGE__INBOX_CHANNEL": "false",
        "CAMPANA__EDGE__PERSONAL_CHANNEL": '{ enabled = true, namespace = "" }',
        "CAMPANA__EDGE__NAMESPACES": namespaces,
    }
    program = str(pathlib.Path(options.campana).resolve())
    output = (folder / "edge.out").open("w")
    errors = (folder / "edge.err").open("w")
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
            sys.exit((folder / "edge.err").read_text())
        time.sleep(0.05)
    return edge


def run_one(suite, name, seconds):
    """Why it failed; nothing if it did not."""
    command = [sys.executable, "-m", "unittest", name]
    try:
        done = subprocess.run(command, cwd=suite, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "it waits for ever"
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return errors[-1] if errors else "it failed"


def run_all(suite, seconds):
    listed = subprocess.run(
        [sys.executable, "-c", LIST], cwd=suite, capture_output=True, text=True, check=True
    ).stdout.split()
    # Only one module talks to a server; the others are run as wholes.
    modules = sorted({name.rsplit(".", 2)[0] for name in listed if not name.startswith(LIVE)})
    outcome = {}
    for name in modules + [name for name in listed if name.startswith(LIVE)]:
        outcome[name] = run_one(suite, name, seconds if name.startswith(LIVE) else 300)
        print(json.dumps({"test": name, "failure": outcome[name]}), flush=True)
    return outcome


def main():
    options = arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="official-python-"))
    nats_port, port = free_port(), free_port()
    nats = edge = None
    try:
        tests = fetch(folder)
        adapt(tests, port)
        suite = folder / "suite"
        suite.mkdir()
        shutil.move(tests, suite / "tests")
        nats = subprocess.Popen(
            [options.nats, "-a", "127.0.0.1", "-p", str(nats_port), "-js", "-sd", str(folder / "js")],
            stderr=subprocess.DEVNULL,
        )
        edge = start_edge(options, folder, nats_port, port)
        outcome = run_all(suite, options.seconds)
    finally:
        for process in (edge, nats):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    failed = {name.removeprefix(LIVE) for name, failure in outcome.items() if failure}
    new, mended = failed - EXPECTED_FAILURES.keys(), EXPECTED_FAILURES.keys() - failed
    print(json.dumps({"passed": len(outcome) - len(failed), "failed": len(failed), "new": sorted(new), "mended": sorted(mended)}))
    return 1 if new or mended else 0


sys.exit(main())
