"""Reads dashboards with Grafana's schema 11.6 and writes them again; prints every key that got lost.

Usage: round_trip.py FILE…
Reads: the files, the installed grafana-foundation-sdk. Writes: findings to stdout. Never: asks a Grafana.
A wrong type is an error of the library; a key that the schema does not know, or that belongs to another
panel, is silently dropped by it, so what comes out is compared with what went in. Values count as well.
Exit code 1 if something was found.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before, after, where=""):
    """Paths of what `before` has and `after` has not, or has with another value."""
    if isinstance(before, dict):
        if not isinstance(after, dict):
            yield f"{where}: became {after!r}"
            return
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{where}.{key}")
            elif value is not None:
                yield f"{where}.{key}: lost"
    elif isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            yield f"{where}: has other items"
            return
        for index, (left, right) in enumerate(zip(before, after)):
            yield from lost(left, right, f"{where}[{index}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def main(files):
    register_default_plugins()
    found = 0
    for file in files:
        with open(file, encoding="utf-8") as opened:
            before = json.load(opened)
        after = json.loads(JSONEncoder().encode(Dashboard.from_json(before)))
        for what in lost(before, after):
            found += 1
            print(f"{file}: {what}")
        if before["schemaVersion"] != Dashboard().schema_version:
            found += 1
            print(f"{file}: schemaVersion is not the library's, {Dashboard().schema_version}")
    print(f"{len(files)} dashboards, {found} keys lost")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
