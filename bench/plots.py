"""Plots the curves of a run; matplotlib is installed only by `make bench`, so functions import it."""

from pathlib import Path
from typing import Any

Curve = dict[str, list[tuple[float, ...]]]


def draw(curves: dict[str, Curve], folder: Path) -> list[Path]:
    """Draw each curve for which there is a plot as a PNG file, and return the paths of the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    plots = {"latency": _plot_latency, "growth": _plot_growth}
    return [plot(curves[name], folder / f"{name}.png") for name, plot in plots.items() if name in curves]


def _plot_latency(curve: Curve, path: Path) -> Path:
    """Plot p50 and p99 against requests per second, for an increasing number of connections."""
    figure, axes = _create_axes(xlabel="requests per second", ylabel="latency, ms")
    for number, (name, points) in enumerate(curve.items()):
        per_s, p50, p99 = ([point[column] for point in points] for column in (1, 2, 3))
        axes.plot(per_s, p50, marker="o", color=f"C{number}", label=f"{name}, p50")
        axes.plot(per_s, p99, marker=".", color=f"C{number}", linestyle=":", label=f"{name}, p99")
    axes.set_yscale("log")
    axes.set_title("Latency against load: each point has more connections than the previous one")
    return _save_figure(figure, axes, path)


def _plot_growth(curve: Curve, path: Path) -> Path:
    """Plot the p50 of each call against the number of stored responses."""
    figure, axes = _create_axes(xlabel="stored responses", ylabel="p50, ms")
    for name, points in curve.items():
        axes.plot([point[0] for point in points], [point[1] for point in points], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title("Cost against stored responses")
    return _save_figure(figure, axes, path)


def _create_axes(*, xlabel: str, ylabel: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save_figure(figure: Any, axes: Any, path: Path) -> Path:
    axes.legend()
    figure.savefig(path, dpi=120)
    return path
