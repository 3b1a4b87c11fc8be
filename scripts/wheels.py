"""Puts into a folder all that a set-up without network needs: the product's wheels and pip's.

    make wheels DIR=/media/stick

On the other machine (same processor and Python version):

    PIP_NO_INDEX=1 PIP_FIND_LINKS=/media/stick make run
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from scripts import bootstrap, fetch_pip


def main() -> int:
    parser = argparse.ArgumentParser(description="Collect the wheels for a set-up without network.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pip = fetch_pip.pinned_wheel(bootstrap.BUILDS, bootstrap.PIP_WHEEL, bootstrap.PIP_SHA256)
    except fetch_pip.FetchFailed as failure:
        print(f"meshconsole wheels: {failure}", file=sys.stderr)
        return 1
    shutil.copyfile(pip, folder / pip.name)
    command = [sys.executable, "-I", str(pip / "pip"), "download", "--quiet", "--dest", str(folder)]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    for lock in bootstrap.LOCKS["product"]:
        command += ["-r", str(bootstrap.ROOT / "requirements" / lock)]
    if subprocess.call(command):
        return 1
    size_mb = sum(wheel.stat().st_size for wheel in folder.glob("*.whl")) / 1e6
    print(f"{folder} has what a set-up needs ({size_mb:.0f} MB). On the other machine:")
    print(f"PIP_NO_INDEX=1 PIP_FIND_LINKS={folder} make run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
