"""One model's folder: its config as text, as a tree with positions and as a protobuf message.

Backend, platform and file name are completed here in the same way as the server completes them
before it loads a model. The rules are elsewhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from google.protobuf import text_format

from toolkit.finding import Place
from toolkit.model_config import ModelConfig
from toolkit.verifier.backends import Served, complete
from toolkit.verifier.finding import ModelFinding, draft
from toolkit.verifier.position import find_entry, place_of, place_of_entry
from toolkit.verifier.releases import Server
from toolkit.verifier.tokens import TextError, Token
from toolkit.verifier.tree import Entry, parse

CONFIG = "config.pbtxt"
_ERROR = re.compile(r"(\d+):(\d+) ?: ?(.*)", re.DOTALL)
_VERSION = re.compile(r"0|[1-9][0-9]*")


@dataclass
class Model:
    """A folder of the repository. `neighbours` are all models by name, this one included."""

    folder: Path
    root: Path
    target: Server
    neighbours: dict[str, "Model"] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The folder's name, which is what clients and ensembles call the model."""
        return self.folder.name

    @property
    def file(self) -> str:
        """The config's path as messages show it."""
        return self.shown(self.folder / CONFIG)

    def shown(self, path: Path) -> str:
        """A path as messages show it."""
        return str(self.root / path.relative_to(self.root))

    @cached_property
    def text(self) -> str | None:
        """The text of config.pbtxt; None if the file does not exist."""
        path = self.folder / CONFIG
        # bytes, not text: a wrong encoding must be a finding with a place, not an exception
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
            # unknown fields are the rule `unknown-field`'s, so the rest can still be checked
            text_format.Parse(self.text or "", config, allow_unknown_field=True)
        except text_format.ParseError as error:
            return tree, config, _translate(error)
        return tree, config, None

    @property
    def tree(self) -> Entry:
        """The config's fields with their positions; empty if the text is not valid text format."""
        return self._parsed[0]

    @property
    def config(self) -> ModelConfig:
        """The config as the server reads it; incomplete if `error` is set."""
        return self._parsed[1]

    @property
    def error(self) -> TextError | None:
        """The error that the parser reported, if any."""
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
        """The version folders that the config's policy selects."""
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
        # without a policy: latest 1
        return dict(list(there.items())[:1])

    @property
    def first_version(self) -> Path | None:
        """The folder from whose files the server guesses a backend: the first by name."""
        # the core takes the first entry of a sorted set, not the highest number
        folders = sorted(each for each in _entries(self.folder) if each.is_dir())
        return folders[0] if folders else None

    @property
    def is_ensemble(self) -> bool:
        config = self.config
        return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))

    def at(self, path: str, *, name: bool = False) -> Place:
        """Where the config sets `path`: the place of the value or, with `name`, of the name."""
        entry, exact = find_entry(self.tree, path)
        return replace(self.at_entry(entry, value=exact and not name), field=path)

    def at_entry(self, entry: Entry, *, value: bool = True) -> Place:
        """The place of a config's entry."""
        return place_of_entry(self.file, self.lines, entry, value=value)

    def at_token(self, token: Token, field: str = "") -> Place:
        """The place of a config's token, which belongs to `field`."""
        return replace(place_of(self.file, self.lines, token), field=field)

    def finding(self, path: str, text: str, fix: str, outcome: str = "") -> ModelFinding:
        """A finding about the config's field `path`."""
        return draft(self.at(path), text, fix, outcome)

    def file_finding(self, path: Path, text: str, fix: str, line: int = 0) -> ModelFinding:
        """A finding about a file or folder, or about one line of a file."""
        shown = self.shown(path)
        if not line:
            return draft(Place(shown), text, fix)
        lines = path.read_text(errors="replace").split("\n")
        token = Token("word", lines[line - 1].strip(), line, _indent(lines[line - 1]) + 1)
        return draft(place_of(shown, lines, token), text, fix)


def _entries(folder: Path) -> Iterator[Path]:
    return (each for each in folder.iterdir() if not each.name.startswith("."))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _translate(error: text_format.ParseError) -> TextError:
    match = _ERROR.match(str(error))
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    return TextError(match[3] if match else str(error), Token("word", "", line, column))
