"""Check the installed packages for known vulnerabilities with pip-audit: `python -m tools.audit`.

Exit status: 1 if a vulnerability is open, that is, not listed in EXCEPTIONS; else 0. If the vulnerability service
cannot be reached, a warning is printed and the status is 0: a missing network says nothing about the code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

SECONDS = 60
# Vulnerability -> the reason why it does not affect this project. Remove a line once its package is upgraded.
EXCEPTIONS: Mapping[str, str] = MappingProxyType({})

Package = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the vulnerabilities and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.audit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    packages = run_pip_audit()
    if packages is None or not any("vulns" in package for package in packages):
        print("packages were NOT audited for vulnerabilities: the service cannot be reached")
        return 0
    vulnerabilities = open_vulnerabilities(packages)
    audited = sum("vulns" in package for package in packages)
    total = f"{audited} of {len(packages)} packages audited, {len(vulnerabilities)} open vulnerabilities"
    print("\n".join([*vulnerabilities, total]))
    return int(bool(vulnerabilities))


def run_pip_audit() -> list[Package] | None:
    """Return pip-audit's entry for each package, or None if it has no result."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        return cast("list[Package]", json.loads(done.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def open_vulnerabilities(packages: list[Package], exceptions: Mapping[str, str] = EXCEPTIONS) -> list[str]:
    """Return one line per vulnerability if neither its identifier nor one of its aliases is in `exceptions`."""
    return [
        f"{package['name']} {package['version']}: {entry['id']}, fixed in {entry['fix_versions'] or 'no version'}"
        for package in packages
        for entry in cast("list[dict[str, object]]", package.get("vulns", []))
        if not exceptions.keys() & {entry["id"], *cast("list[str]", entry.get("aliases", []))}
    ]


if __name__ == "__main__":
    sys.exit(main())
