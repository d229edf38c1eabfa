"""The sheet that figures are written on: each measure of each proxy in each round, and what could not be measured."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.machine import BenchError


@dataclass(frozen=True)
class Measure:
    """One row of the table. `most_ratio` and `most` are what is asked of the daemon: against Envoy, or by itself."""

    title: str
    unit: str
    digits: int = 0
    most_ratio: float | None = None
    most: float | None = None
    aside: bool = False
    """Explains others: in the file, and not in the table."""

    @property
    def wanted(self) -> str:
        if self.most_ratio is not None:
            return f"≤ {self.most_ratio:g} ×"
        return "" if self.most is None else f"≤ {self.most:g} {self.unit}"


@dataclass
class Sheet:
    """`values[measure][proxy]` is a value a round."""

    values: dict[Measure, dict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    missing: list[str] = field(default_factory=list)
    ours: str = "sidecar"
    """Who is held to what is wanted: the daemon as it is deployed, if it was measured so."""

    def add(self, measure: Measure, proxy: str, value: float) -> None:
        self.values[measure][proxy].append(value)

    @contextmanager
    def measuring(self, what: str) -> Iterator[None]:
        """What fails inside is noted as not measured, and the rest goes on."""
        try:
            yield
        except (BenchError, OSError) as error:
            self.missing.append(f"{what}: {error}")

    def median(self, measure: Measure, proxy: str) -> float | None:
        values = self.values[measure].get(proxy)
        return median(values) if values else None

    def ratio(self, measure: Measure) -> float | None:
        """The daemon's value against Envoy's: the median over rounds of what was measured side by side."""
        ours, theirs = (self.values[measure].get(name, []) for name in (self.ours, "envoy"))
        ratios = [our / their for our, their in zip(ours, theirs, strict=False) if their > 0]
        return median(ratios) if ratios else None

    def held(self, measure: Measure) -> bool | None:
        """Whether the wanted figure is held; None where it asks for none, or nothing was measured."""
        by_ratio = measure.most_ratio is not None
        value = self.ratio(measure) if by_ratio else self.median(measure, self.ours)
        most = measure.most_ratio if by_ratio else measure.most
        return None if value is None or most is None else value <= most

    def table(self, proxies: list[str]) -> str:
        """Markdown, with columns that line up."""
        head = ["figure (median)", *proxies, f"{self.ours} / envoy", "wanted", ""]
        rows = [self._row(measure, proxies) for measure in self.values if not measure.aside]
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        rule = ["-" * width for width in widths]
        return "\n".join(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in [head, rule, *rows]
        )

    def _row(self, measure: Measure, proxies: list[str]) -> list[str]:
        ratio = self.ratio(measure)
        verdict = {True: "held", False: "missed", None: ""}[self.held(measure)]
        cells = [_cell(self.median(measure, proxy), measure) for proxy in proxies]
        return [measure.title, *cells, "" if ratio is None else f"{ratio:.2f} ×", measure.wanted, verdict]

    def write(self, file: Path, about: dict[str, object]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        figures = [
            {
                "figure": measure.title,
                "unit": measure.unit,
                "rounds": proxies,
                "medians": {proxy: median(values) for proxy, values in proxies.items()},
                "of": self.ours,
                "to_envoy": self.ratio(measure),
                "wanted": measure.wanted or None,
                "held": self.held(measure),
            }
            for measure, proxies in self.values.items()
        ]
        file.write_text(json.dumps({**about, "figures": figures, "missing": self.missing}, indent=2) + "\n")


def _cell(value: float | None, measure: Measure) -> str:
    return "–" if value is None else f"{value:,.{measure.digits}f} {measure.unit}".rstrip()
