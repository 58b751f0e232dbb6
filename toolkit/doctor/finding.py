"""The findings of `doctor`: each check reports `ok`, or what to do about a warning or an error."""

from toolkit.finding import Finding, Place, Severity


def ok(code: str, text: str) -> Finding:
    """The check passed."""
    return Finding(Severity.OK, Place(), text, code=code)


def warning(code: str, text: str, fix: str) -> Finding:
    """Models can be served, but slower, with less memory or less safely."""
    return Finding(Severity.WARNING, Place(), text, fix, code)


def error(code: str, text: str, fix: str) -> Finding:
    """Models cannot be served."""
    return Finding(Severity.ERROR, Place(), text, fix, code)


def as_json(finding: Finding) -> dict[str, str | None]:
    """A finding about a machine; it has no file or line."""
    return {
        "code": finding.code,
        "severity": finding.severity,
        "text": finding.text,
        "fix": finding.fix,
    }


def size(size_bytes: float) -> str:
    """A size in text: `3.2 GiB`, `512 MiB`."""
    if size_bytes >= 2**30:
        return f"{size_bytes / 2**30:.1f} GiB"
    return f"{size_bytes / 2**20:.0f} MiB"
