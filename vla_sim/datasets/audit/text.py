"""An audit for a terminal and as files. Used by the audit command."""

from __future__ import annotations

import json
import re
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
    # A name or sentence with a line feed would look like a finding of its own.
    return "\n".join(without_controls(line.replace("\n", " ")) for line in lines)


def without_controls(text: str) -> str:
    """The text with control codes, which names from files may hold, replaced by question marks; line feeds stay."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "?", text)


def write_audit(audit: Audit, out: Path) -> None:
    """Write audit.json and audit.html into a folder."""
    text = without_controls(json.dumps(audit.to_json(), indent=2, ensure_ascii=False))
    page = without_controls(render(audit))
    write_whole(out / "audit.json", text.encode() + b"\n")
    write_whole(out / "audit.html", page.encode())
