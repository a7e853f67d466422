"""Installs the Debian packages that the stock suite runs, without starting their services."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stock.servers import POSTGRES_VERSION

PACKAGES = (f"postgresql-{POSTGRES_VERSION}", "redis-server", "pgbouncer")
# invoke-rc.d and deb-systemd-invoke ask this program before they start a service; 101 forbids it.
POLICY = Path("/usr/sbin/policy-rc.d")
FORBID = "#!/bin/sh\nexit 101\n"
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=120", "-y", "--no-install-recommends")


class CannotInstall(RuntimeError):
    """A package is missing and this user or system cannot install it."""


def missing() -> list[str]:
    """The packages that are not installed."""
    if shutil.which("dpkg-query") is None:
        return list(PACKAGES)
    found = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *PACKAGES],
        check=False,
        capture_output=True,
        text=True,
    )
    installed = {line.split()[1] for line in found.stdout.splitlines() if line.startswith("installed ")}
    return [name for name in PACKAGES if name not in installed]


def install(names: list[str]) -> None:
    """Install packages with apt, as root or through sudo.

    Raises:
        CannotInstall: apt is missing or failed, or this user may not install packages.
    """
    wanted = " ".join(names)
    if shutil.which("apt-get") is None:
        raise CannotInstall(f"The stock suite needs Debian 12 or a system with its packages; missing: {wanted}.")
    if os.geteuid() != 0 and subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode != 0:
        raise CannotInstall(f"Install the packages as root, then run this again: apt-get install {wanted}")
    print(f"Installing {wanted} ...", flush=True)
    with _services_stay_stopped():
        if _apt("install", *names).returncode != 0:
            # The package lists are empty, as in a new container, or outdated.
            _require(_apt("update"))
            _require(_apt("install", *names))


def _apt(*command: str) -> subprocess.CompletedProcess[str]:
    return _as_root("env", "DEBIAN_FRONTEND=noninteractive", *APT, *command)


def _require(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise CannotInstall(f"this failed: {' '.join(done.args)}\n{done.stdout}")


@contextmanager
def _services_stay_stopped() -> Iterator[None]:
    """Prevent services from starting inside the block; an existing policy of the system stays unchanged."""
    if POLICY.exists():
        yield
        return
    _as_root("sh", "-c", f"printf %s '{FORBID}' > {POLICY} && chmod 755 {POLICY}").check_returncode()
    try:
        yield
    finally:
        _as_root("rm", "-f", str(POLICY)).check_returncode()


def _as_root(*command: str) -> subprocess.CompletedProcess[str]:
    privileged = [] if os.geteuid() == 0 else ["sudo", "-n"]
    return subprocess.run(
        [*privileged, *command], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def main() -> None:
    """Install missing packages; exit with an error if that is impossible, because no part may be skipped."""
    if names := missing():
        try:
            install(names)
        except CannotInstall as error:
            sys.exit(f"make stock: {error}")
    if names := missing():
        sys.exit(f"make stock: apt-get reported success, but these packages are not installed: {' '.join(names)}")


if __name__ == "__main__":
    main()
