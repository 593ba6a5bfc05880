"""Checks the hash of a downloaded wheel and unpacks one program from it.

Arguments: folder with exactly one wheel, expected sha256, the program's name, destination file.
Exit codes: 0 done, 3 wrong hash, 4 no such program in it, 5 the disk is full, 6 cannot write.
The destination appears whole or not at all.
"""

import errno
import hashlib
import os
import pathlib
import sys
import zipfile


def main(folder, expected, program, destination):
    wheel = next(iter(sorted(pathlib.Path(folder).glob("*.whl"))))
    actual = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if actual != expected:
        print(actual)
        return 3
    destination = pathlib.Path(destination)
    partial = destination.with_suffix(".partial")
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith("/scripts/" + program)]
        if len(names) != 1:
            return 4
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(archive.read(names[0]))
            partial.chmod(0o755)
            os.replace(partial, destination)
        except OSError as problem:
            partial.unlink(missing_ok=True)
            print(problem.strerror)
            return 5 if problem.errno == errno.ENOSPC else 6
    return 0


sys.exit(main(*sys.argv[1:]))
