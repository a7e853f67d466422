"""Installs the Debian packages that the stock suite needs, without starting their services."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stock.servers import POSTGRES_VERSION

PACKAGES = (f"postgresql-{POSTGRES_VERSION}", "redis-server", "pgbouncer")
# Debian's package scripts run this program before they start a service; exit status 101 forbids the start.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBIDDING_POLICY = "#!/bin/sh\nexit 101\n"
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "--no-install-recommends")


class InstallError(RuntimeError):
    """A missing package cannot be installed on this system or by this user."""


def find_missing_packages() -> list[str]:
    """Return the names of the packages that are not installed."""
    if shutil.which("dpkg-query") is None:
        return list(PACKAGES)
    process = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *PACKAGES],
        check=False,
        capture_output=True,
        text=True,
    )
    installed = {line.split()[1] for line in process.stdout.splitlines() if line.startswith("installed ")}
    return [name for name in PACKAGES if name not in installed]


def install_packages(names: list[str]) -> None:
    """Install packages with apt, as root or through sudo.

    Raises:
        InstallError: apt is missing or failed, or this user may not install packages.
    """
    packages = " ".join(names)
    if shutil.which("apt-get") is None:
        raise InstallError(f"The stock suite needs Debian 12 or a system with its packages; missing: {packages}.")
    if os.geteuid() != 0 and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode != 0:
        raise InstallError(f"Install the packages as root, then run `make stock` again: apt-get install {packages}")
    print(f"Installing {packages} ...", flush=True)
    with _forbid_service_starts():
        if _run_apt("install", *names).returncode != 0:
            # The package lists are outdated, or empty as in a new container.
            _require_success(_run_apt("update"))
            _require_success(_run_apt("install", *names))


def _run_apt(*command: str) -> subprocess.CompletedProcess[str]:
    return _run_as_root("env", "DEBIAN_FRONTEND=noninteractive", *APT, *command)


def _require_success(process: subprocess.CompletedProcess[str]) -> None:
    if process.returncode != 0:
        raise InstallError(f"This command failed: {' '.join(process.args)}\n{process.stdout}")


@contextmanager
def _forbid_service_starts() -> Iterator[None]:
    """Prevent packages from starting services inside the block; an existing policy of the system remains unchanged."""
    if POLICY.exists():
        yield
        return
    _run_as_root("sh", "-c", f"printf %s '{FORBIDDING_POLICY}' > {POLICY} && chmod 755 {POLICY}").check_returncode()
    try:
        yield
    finally:
        _run_as_root("rm", "-f", str(POLICY)).check_returncode()


def _run_as_root(*command: str) -> subprocess.CompletedProcess[str]:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run([*sudo, *command], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    """Install missing packages; exit with an error if that is impossible, because the suite must not skip any test."""
    names = find_missing_packages()
    if names:
        try:
            install_packages(names)
        except InstallError as error:
            sys.exit(f"make stock: {error}")
    missing_names = find_missing_packages()
    if missing_names:
        sys.exit(
            f"make stock: apt-get reported success, but these packages are not installed: {' '.join(missing_names)}"
        )


if __name__ == "__main__":
    main()
