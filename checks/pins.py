"""`python -m checks.pins`: checks that every pin of requirements/*.txt has a wheel for each supported platform."""

import functools
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import click
from packaging.pylock import Package, Pylock
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
# The oldest glibc (RHEL 8, Debian 10) and the oldest macOS for which every pin must have a wheel.
_GLIBC_MINOR = 28
_MACOS_VERSION = (14, 0)
_CLASSIFIER = "Programming Language :: Python :: 3."


@dataclass(frozen=True)
class Target:
    """A minor version of CPython 3 on one platform, with the properties by which pip chooses a wheel."""

    minor: int
    system: str  # platform.system()
    machine: str  # platform.machine()

    def __str__(self) -> str:
        return f"Python 3.{self.minor} on {self.system} {self.machine}"

    @property
    def environment(self) -> dict[str, str | AbstractSet[str]]:
        """The environment for evaluating markers, with the first patch release of this Python version."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"3.{self.minor}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"3.{self.minor}.0",
            "python_version": f"3.{self.minor}",
            "sys_platform": self.system.lower(),
        }

    @property
    def tags(self) -> frozenset[Tag]:
        """The tags of the wheels that this target can install."""
        version, abi, platforms = (3, self.minor), f"cp3{self.minor}", list(self._list_platforms())
        return frozenset([*cpython_tags(version, [abi], platforms), *compatible_tags(version, abi, platforms)])

    def _list_platforms(self) -> Iterator[str]:
        if self.system == "Darwin":
            yield from mac_platforms(_MACOS_VERSION, self.machine)
            return
        yield from (f"manylinux_2_{minor}_{self.machine}" for minor in range(_GLIBC_MINOR, 4, -1))
        # Legacy names of manylinux_2_17, 2_12 and 2_5.
        yield from (f"{name}_{self.machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1"))


def list_targets(pyproject: Path) -> list[Target]:
    """List one target for each platform and each Python version in the classifiers of a pyproject.toml."""
    classifiers = tomllib.loads(pyproject.read_text())["project"]["classifiers"]
    minors = sorted(int(name.removeprefix(_CLASSIFIER)) for name in classifiers if name.startswith(_CLASSIFIER))
    platforms = (("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64"))
    return [Target(minor, *platform) for minor in minors for platform in platforms]


def find_faults(pylock: Pylock, hashes: Collection[str], target: Target) -> Iterator[str]:
    """Yield a message for each package that `pip install --require-hashes` cannot install from a wheel on a target.

    Args:
        pylock: the pinned packages, each with all wheels of its version in the index.
        hashes: SHA-256 hashes of the files that the pins allow.
        target: Python version and platform of the installation.
    """
    tags = target.tags
    for package in pylock.packages:
        if package.marker and not package.marker.evaluate(target.environment):
            continue
        wheels = [wheel for wheel in package.wheels or () if wheel.hashes["sha256"] in hashes]
        if all(tags.isdisjoint(_parse_tags(wheel.filename)) for wheel in wheels):
            yield f"{package.name} {package.version} has no wheel with a pinned hash for {target}."
        specifier = read_requires_python(package)
        if not specifier.contains(f"3.{target.minor}.0"):
            yield f"{package.name} {package.version} requires Python {specifier} and cannot be used with {target}."


@functools.cache
def _parse_tags(filename: str) -> frozenset[Tag]:
    _, _, _, tags = parse_wheel_filename(filename)
    return tags


def read_requires_python(package: Package) -> SpecifierSet:
    """Read the Python versions that a package allows; return all versions if the pinned version is not installed.

    The versions are read from the installed package, because uv ignores upper bounds such as `<3.14` in the index,
    whereas pip enforces them.
    """
    try:
        installed = metadata.distribution(package.name)
    except metadata.PackageNotFoundError:
        return SpecifierSet()
    if installed.version != str(package.version):
        return SpecifierSet()
    return SpecifierSet(installed.metadata["Requires-Python"] or "")


def lock_requirements(requirements: Sequence[Path], python_minor: int) -> Pylock:
    """Lock the pins of the files; the result contains all wheels that the index has for the pinned versions.

    Args:
        requirements: files that pin every package with `==`.
        python_minor: the lowest minor version of Python 3; markers for lower versions are dropped.

    Raises:
        subprocess.CalledProcessError: uv found no version or could not connect to the index; uv prints the reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "pylock.toml")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--universal"]
        options = [f"--python-version=3.{python_minor}", "--format=pylock.toml", f"--output-file={output}"]
        subprocess.run([*command, *options, *map(str, requirements)], check=True)
        return Pylock.from_dict(tomllib.loads(output.read_text()))


def main() -> None:
    """Check the pins, and exit with one message per fault if there are faults."""
    files = sorted((ROOT / "requirements").glob("*.txt"))
    targets = list_targets(ROOT / "pyproject.toml")
    hashes = {digest for file in files for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", file.read_text())}
    try:
        pylock = lock_requirements(files, min(target.minor for target in targets))
    except subprocess.CalledProcessError:
        sys.exit("The pins of requirements/*.txt cannot be checked.")
    faults = [fault for target in targets for fault in find_faults(pylock, hashes, target)]
    if faults:
        sys.exit("\n".join(faults))
    click.echo(f"All {len(pylock.packages)} pins have wheels for all targets: {', '.join(map(str, targets))}.")


if __name__ == "__main__":
    main()
