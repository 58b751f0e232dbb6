"""One model's folder: its config as text, as a tree with positions and as a protobuf message.

Everything the server would fill in by itself before it looks at the model (backend, platform, file
name) is worked out here, the same way. It knows no rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from google.protobuf import text_format

from toolkit.model_config import ModelConfig
from toolkit.verify.backends import Served, complete
from toolkit.verify.position import find_entry, place_of, place_of_entry
from toolkit.verify.problem import Effect, Place
from toolkit.verify.releases import Target
from toolkit.verify.tokens import TextError, Token
from toolkit.verify.tree import Entry, parse

CONFIG = "config.pbtxt"
_ERROR = re.compile(r"(\d+):(\d+) ?: ?(.*)", re.DOTALL)
_VERSION = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Hit:
    """What a rule saw: where, what is wrong, how to mend it. `effect` if not the rule's own."""

    place: Place
    field: str
    message: str
    fix: str
    outcome: str = ""
    effect: Effect | None = None


@dataclass
class Model:
    """A folder of the repository. `neighbours` are all models by name, this one included."""

    folder: Path
    root: Path
    target: Target
    neighbours: dict[str, "Model"] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The folder's name, which is what clients and ensembles call the model."""
        return self.folder.name

    @property
    def file(self) -> str:
        """The config's path as it is shown."""
        return self.shown(self.folder / CONFIG)

    def shown(self, path: Path) -> str:
        """A path as messages show it."""
        return str(self.root / path.relative_to(self.root))

    @cached_property
    def text(self) -> str | None:
        """The config, None when there is no such file."""
        path = self.folder / CONFIG
        return path.read_bytes().decode(errors="replace") if path.is_file() else None

    @cached_property
    def lines(self) -> list[str]:
        return (self.text or "").replace("\r\n", "\n").split("\n")

    @cached_property
    def _parsed(self) -> tuple[Entry, ModelConfig, TextError | None]:
        config = ModelConfig()
        nothing = Entry("", Token("end", "", 1, 1), children=[])
        try:
            tree = parse(self.text or "")
        except TextError as error:
            return nothing, config, error
        try:
            text_format.Parse(self.text or "", config, allow_unknown_field=True)
        except text_format.ParseError as error:
            return tree, config, _translate(error)
        return tree, config, None

    @property
    def tree(self) -> Entry:
        """The config's fields with their positions; empty when it does not follow the grammar."""
        return self._parsed[0]

    @property
    def config(self) -> ModelConfig:
        """The config as the server reads it; incomplete when `error` is set."""
        return self._parsed[1]

    @property
    def error(self) -> TextError | None:
        """Why the config cannot be parsed."""
        return self._parsed[2]

    @cached_property
    def served(self) -> Served:
        """Backend, platform and file name, completed as the server completes them."""
        return complete(self.name, self.config, self.first_version)

    @cached_property
    def versions(self) -> dict[int, Path]:
        """Version folders by number."""
        folders = [each for each in _entries(self.folder) if each.is_dir()]
        return {int(each.name): each for each in folders if _VERSION.fullmatch(each.name)}

    @cached_property
    def served_versions(self) -> dict[int, Path]:
        """The versions that the config's policy picks among those that are there."""
        policy = self.config.version_policy
        there = dict(sorted(self.versions.items(), reverse=True))
        match policy.WhichOneof("policy_choice"):
            case "all":
                return there
            case "specific":
                return {
                    number: there[number] for number in policy.specific.versions if number in there
                }
            case "latest":
                return dict(list(there.items())[: policy.latest.num_versions])
        return dict(list(there.items())[:1])

    @property
    def first_version(self) -> Path | None:
        """The folder that the server looks into to guess a backend: first by spelling."""
        folders = sorted(each for each in _entries(self.folder) if each.is_dir())
        return folders[0] if folders else None

    @property
    def is_ensemble(self) -> bool:
        config = self.config
        return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))

    def at(self, path: str, *, name: bool = False) -> Place:
        """Where `path` is written in the config; of its name, not of its value, with `name`."""
        entry, exact = find_entry(self.tree, path)
        return place_of_entry(self.file, self.lines, entry, value=exact and not name)

    def hit(self, path: str, message: str, fix: str, outcome: str = "") -> Hit:
        """What a rule yields about the config's field `path`."""
        return Hit(self.at(path), path, message, fix, outcome)

    def hit_file(self, path: Path, message: str, fix: str, line: int = 0) -> Hit:
        """What a rule yields about a file or folder, or a line in it."""
        shown = self.shown(path)
        if not line:
            return Hit(Place(shown), "", message, fix)
        lines = path.read_text(errors="replace").split("\n")
        token = Token("word", lines[line - 1].strip(), line, _indent(lines[line - 1]) + 1)
        return Hit(place_of(shown, lines, token), "", message, fix)


def _entries(folder: Path) -> Iterator[Path]:
    return (each for each in folder.iterdir() if not each.name.startswith("."))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _translate(error: text_format.ParseError) -> TextError:
    match = _ERROR.match(str(error))
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    return TextError(match[3] if match else str(error), Token("word", "", line, column))
