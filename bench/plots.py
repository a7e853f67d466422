"""Plots the curves of a report; only `make bench` installs matplotlib."""

from pathlib import Path
from typing import Any

Curve = dict[str, list[tuple[float, ...]]]


def draw(curves: dict[str, Curve], folder: Path) -> list[Path]:
    """Draw the known curves among `curves` as PNG files and return their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    drawn = {"latency": _latency, "growth": _growth}
    return [draw_one(curves[name], folder / f"{name}.png") for name, draw_one in drawn.items() if name in curves]


def _latency(curve: Curve, path: Path) -> Path:
    """Plot p50 and p99 against requests per second, for an increasing number of connections."""
    figure, axes = _axes(xlabel="requests per second", ylabel="latency, ms")
    for number, (name, points) in enumerate(curve.items()):
        per_s, p50, p99 = ([point[place] for point in points] for place in (1, 2, 3))
        axes.plot(per_s, p50, marker="o", color=f"C{number}", label=f"{name}, p50")
        axes.plot(per_s, p99, marker=".", color=f"C{number}", linestyle=":", label=f"{name}, p99")
    axes.set_yscale("log")
    axes.set_title("Latency against load: each point has more connections than the previous one")
    return _save(figure, axes, path)


def _growth(curve: Curve, path: Path) -> Path:
    """Plot the p50 of each call against the number of stored responses."""
    figure, axes = _axes(xlabel="stored responses", ylabel="p50, ms")
    for name, points in curve.items():
        axes.plot([point[0] for point in points], [point[1] for point in points], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title("Cost against stored responses")
    return _save(figure, axes, path)


def _axes(*, xlabel: str, ylabel: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> Path:
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
