"""Collects the errors of single models, so that all are reported together.

Each error becomes a finding at the line of models.yaml that it is about. An extra that is not
installed concerns every model, and ends the build at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from toolkit.errors import BuildError, MissingExtra, SpecError, ToolkitError
from toolkit.finding import Finding
from toolkit.spec import Spec


class Failures:
    """The errors so far."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.findings: list[Finding] = []
        self._causes: list[ToolkitError] = []

    @contextmanager
    def of(self, model: str) -> Iterator[None]:
        """Keeps an error that the block raises about `model`."""
        try:
            yield
        except MissingExtra:
            raise
        except ToolkitError as error:
            self.findings.append(self._spec.finding_of(model, error))
            self._causes.append(error)

    @contextmanager
    def all(self) -> Iterator[None]:
        """Keeps findings that the block raises about several models."""
        try:
            yield
        except SpecError as error:
            self.add(error)

    def add(self, error: SpecError) -> None:
        """Keeps the findings of an error."""
        self.findings += error.findings
        self._causes.append(error)

    def refuse(self) -> None:
        """Raises BuildError when anything was kept; its exit code is that of all errors."""
        if not self._causes:
            return
        order = sorted(self.findings, key=lambda each: (each.place.line, each.text))
        # only mistakes in models.yaml: reported as such, not as a failed build
        if all(_is_of_the_file(cause) for cause in self._causes):
            raise SpecError(order) from self._causes[0]
        failure = BuildError(order)
        codes = {cause.exit_code for cause in self._causes}
        # scripts tell a failed download from a failed conversion by the code
        failure.exit_code = codes.pop() if len(codes) == 1 else BuildError.exit_code
        raise failure from self._causes[0]


def _is_of_the_file(cause: ToolkitError) -> bool:
    return isinstance(cause, SpecError) and not isinstance(cause, BuildError)
