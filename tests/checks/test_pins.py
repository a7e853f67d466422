"""The check of pins, which finds pinned packages that pip cannot install on a supported Python."""

from pathlib import Path

import pytest
from packaging.pylock import Pylock

from checks import pins
from checks.pins import Target

LINUX = Target(14, "Linux", "x86_64")
PINNED_HASH = "a" * 64


def find_faults(wheel: str, *, target: Target = LINUX, sha256: str = PINNED_HASH, marker: str = "") -> list[str]:
    """Return the faults of a package for which the index has one wheel and an sdist."""
    name, version = wheel.split("-")[:2]
    package = {
        "name": name,
        "version": version,
        "wheels": [
            {"name": f"{wheel}.whl", "url": f"https://a.invalid/{wheel}.whl", "hashes": {"sha256": PINNED_HASH}}
        ],
        "sdist": {"url": f"https://a.invalid/{name}-{version}.tar.gz", "hashes": {"sha256": PINNED_HASH}},
        **({"marker": marker} if marker else {}),
    }
    pylock = Pylock.from_dict({"lock-version": "1.0", "created-by": "tests", "packages": [package]})
    return list(pins.find_faults(pylock, {sha256}, target))


@pytest.mark.parametrize(
    "wheel",
    [
        "a-1-py3-none-any",
        "a-1-cp314-cp314-manylinux_2_28_x86_64",
        "a-1-cp314-cp314-manylinux2014_x86_64.manylinux_2_17_x86_64",
        "a-1-cp310-abi3-manylinux_2_17_x86_64",
        "a-1-py3-none-manylinux1_x86_64",
    ],
)
def test_a_wheel_for_the_target_is_not_a_fault(wheel: str) -> None:
    assert find_faults(wheel) == []


@pytest.mark.parametrize(
    "wheel",
    [
        "a-1-cp313-cp313-manylinux_2_28_x86_64",
        "a-1-cp314-cp314t-manylinux_2_28_x86_64",
        "a-1-cp314-cp314-manylinux_2_34_x86_64",
        "a-1-cp314-cp314-manylinux_2_28_aarch64",
        "a-1-cp314-cp314-musllinux_1_2_x86_64",
        "a-1-cp314-cp314-macosx_11_0_arm64",
        "a-1-cp315-abi3-manylinux_2_28_x86_64",
    ],
)
def test_a_package_without_a_wheel_for_the_target_is_a_fault(wheel: str) -> None:
    assert find_faults(wheel) == ["a 1 has no wheel with a pinned hash for Python 3.14 on Linux x86_64."]


def test_wheels_for_macos_up_to_version_14_are_accepted() -> None:
    target = Target(12, "Darwin", "arm64")

    assert find_faults("a-1-cp310-abi3-macosx_14_0_arm64", target=target) == []
    assert find_faults("a-1-cp310-abi3-macosx_15_0_arm64", target=target) != []


def test_a_wheel_without_a_pinned_hash_is_a_fault() -> None:
    assert find_faults("a-1-py3-none-any", sha256="b" * 64) != []


@pytest.mark.parametrize(
    ("marker", "fault_count"),
    [("sys_platform == 'win32'", 0), ("python_full_version < '3.14'", 0), ("python_full_version >= '3.14'", 1)],
)
def test_a_package_is_checked_only_if_its_marker_is_true(marker: str, fault_count: int) -> None:
    assert len(find_faults("a-1-cp311-cp311-win_amd64", marker=marker)) == fault_count


def test_an_upper_bound_that_excludes_the_target_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bounded-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: bounded\nVersion: 1\nRequires-Python: >=3.8,<3.14\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert find_faults("bounded-1-py3-none-any", target=Target(13, "Linux", "x86_64")) == []
    assert find_faults("bounded-2-py3-none-any") == []  # version 1 is installed
    assert find_faults("bounded-1-py3-none-any") == [
        "bounded 1 requires Python <3.14,>=3.8 and cannot be used with Python 3.14 on Linux x86_64."
    ]


def test_the_targets_have_the_python_versions_of_the_classifiers() -> None:
    minors = {target.minor for target in pins.list_targets(pins.ROOT / "pyproject.toml")}

    assert minors == {11, 12, 13, 14}
