"""An audit for a terminal and as files. Used by the audit command."""

from __future__ import annotations

import json
from pathlib import Path

from vla_sim.core.files import write_whole
from vla_sim.datasets.audit.examine import Audit
from vla_sim.datasets.audit.findings import Severity
from vla_sim.datasets.audit.report import render


def text_of(audit: Audit) -> str:
    """The audit for a terminal: the verdict and its first reason in the first line, then all findings."""
    lines = [audit.headline, ""]
    fine = [f for f in audit.findings if f.severity is Severity.GOOD]
    for finding in audit.findings:
        if finding.severity is Severity.GOOD:
            continue
        lines.append(f"{finding.severity.value:8}  {finding.title}")
        if finding.advice:
            lines.append(f"{'':10}-> {finding.advice}")
    if fine:
        lines.append(f"fine      {'; '.join(f.title for f in fine)}")
    return "\n".join(lines)


def write_audit(audit: Audit, out: Path) -> None:
    """Write audit.json and audit.html into a folder."""
    page = render(audit)
    write_whole(out / "audit.json", json.dumps(audit.to_json(), indent=2, ensure_ascii=False).encode() + b"\n")
    write_whole(out / "audit.html", page.encode("utf-8", "backslashreplace"))
