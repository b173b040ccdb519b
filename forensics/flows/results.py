"""What a flow returns: where its files lie, its counts, and its tables on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.errors import ExitCode

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AuditResult", "SearchResult", "exit_code", "unread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """A finished audit.

    Attributes
    ----------
    run_dir, report : Path
        The run folder and its ``report.html``.
    states : mapping of str to int
        Input files by how they ended; they sum to the number of inputs.
    findings_count : mapping of str to int
        Findings by kind.
    images_with_copy : int
        Inputs with at least one near or partial copy.
    leads_count : int
    notes : tuple of str
        What a reader must know, e.g. which embedder was not available.
    """

    run_dir: Path
    report: Path
    states: Mapping[str, int]
    findings_count: Mapping[str, int]
    images_with_copy: int
    leads_count: int
    notes: tuple[str, ...] = ()

    def findings(self) -> pd.DataFrame:
        """Return the findings as a table, one row each; columns as in ``docs/formats.md``."""
        return self._table("findings.parquet")

    def candidates(self) -> pd.DataFrame:
        """Return every compared pair with its score and measurements."""
        import pandas as pd

        return pd.read_csv(self.run_dir / "candidates.csv")

    def images(self) -> pd.DataFrame:
        """Return the inputs with their states."""
        return self._table("images.parquet")

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.run_dir / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Matches of one image, best first: one mapping a match."""

    query: str
    matches: tuple[Mapping[str, object], ...]
    notes: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """Return the matches as a table."""
        import pandas as pd

        return pd.DataFrame(list(self.matches))


def exit_code(states: Mapping[str, int], *, findings: int = 0, fail_on_findings: bool = False) -> ExitCode:
    """Return the exit code of a run: findings (if asked for) before unreadable inputs before clean."""
    if fail_on_findings and findings:
        return ExitCode.FINDINGS
    if states.get("rejected", 0) or states.get("error", 0):
        return ExitCode.UNREADABLE
    return ExitCode.CLEAN


def unread(states: Mapping[str, int]) -> str:
    """Return how many inputs were not read, by state, as in "1 rejected, 2 error"; empty where all were."""
    return ", ".join(f"{count} {state}" for state, count in states.items() if state in ("rejected", "error"))
