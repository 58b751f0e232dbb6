"""Is a model repository right, before a server sees it? Every finding, with file and line.

The rules follow Triton's own validation of configs and ensembles (core: model_config_utils.cc,
ensemble_utils.cc), and add what the server reports only with the first request, or never.
"""

from pathlib import Path

from toolkit.errors import Finding, RepositoryError
from toolkit.repository.ensemble_rules import check_ensemble
from toolkit.repository.folder import read_folders
from toolkit.repository.model_rules import check_model
from toolkit.targets import Target


def verify(root: Path, target: Target) -> list[Finding]:
    """All findings in `root`, a folder of models, by file and line. Raises RepositoryError."""
    if not root.is_dir():
        raise RepositoryError(f"there is no folder {root}", hint="build it: toolkit build-repo")
    models, findings = read_folders(root)
    for model in models.values():
        findings += check_model(model, target)
        if model.is_ensemble:
            findings += check_ensemble(model, models)
    return sorted(findings, key=lambda finding: (finding.file, finding.line, finding.field))
