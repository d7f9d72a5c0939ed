"""Plot memory and latency over time, with the faults."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from tools.soak.measurements import Soak


def plot(soak: Soak, path: Path) -> None:
    """Write the plot as a PNG. Dotted lines mark the faults, crosses the lost requests."""
    begin = soak.samples[0].at
    picture, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    megabytes = [s.memory / 1e6 for s in soak.samples]
    above.plot([s.at - begin for s in soak.samples], megabytes, color="#2f6db3")
    above.set(ylabel="memory of the workers, MB", ylim=(0, 1.1 * max(megabytes)))
    answered = [r for r in soak.results if not r.lost]
    lost = [r for r in soak.results if r.lost]
    below.plot(
        [r.begun - begin for r in answered], [r.seconds for r in answered], ".", ms=1.5, color="#3b8f5a", alpha=0.4
    )
    below.plot([r.begun - begin for r in lost], [r.seconds for r in lost], "x", ms=4, color="#c0392b")
    below.set(ylabel="seconds per request (crosses: lost)", xlabel="seconds", yscale="log")
    for number, fault in enumerate(soak.faults):
        for axes in (above, below):
            axes.axvline(fault.at - begin, color="#888888", ls=":", lw=1)
        position = (fault.at - begin, 0.96 - 0.09 * number)
        above.annotate(f"{fault.name} ", position, xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=7)
    picture.savefig(path, dpi=110)
    plt.close(picture)
