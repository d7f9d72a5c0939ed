"""What is known of holes in the installed packages: `python scripts/audit.py` (pip-audit asks a service for it).

A vulnerability that is not excepted below ends it with status 1. Where no service answers, it says so and ends with 0:
a check without a network would otherwise say nothing of the code.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

SECONDS = 60
# Vulnerability -> why it does not reach us. A line goes when its package is renewed.
EXCEPTIONS: Mapping[str, str] = MappingProxyType({})

Package = dict[str, object]


def main() -> None:
    """Print what was found; exits with 1 where it is not excepted."""
    packages = asked()
    if packages is None or not any("vulns" in package for package in packages):
        print("packages were NOT audited for vulnerabilities: no service that knows of them answered")
        return
    found = open_holes(packages)
    audited = sum("vulns" in package for package in packages)
    print("\n".join([*found, f"{audited} of {len(packages)} packages audited, {len(found)} open vulnerabilities"]))
    sys.exit(1 if found else 0)


def asked() -> list[Package] | None:
    """Return what pip-audit says of each package, None where it had no answer."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        return cast("list[Package]", json.loads(done.stdout)["dependencies"])
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


def open_holes(packages: list[Package], exceptions: Mapping[str, str] = EXCEPTIONS) -> list[str]:
    """Return a line for each vulnerability that is not excepted under its name or another that it goes by."""
    return [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {hole['fix_versions'] or 'no version'}"
        for package in packages
        for hole in cast("list[dict[str, object]]", package.get("vulns", []))
        if not exceptions.keys() & {hole["id"], *cast("list[str]", hole.get("aliases", []))}
    ]


if __name__ == "__main__":
    main()
