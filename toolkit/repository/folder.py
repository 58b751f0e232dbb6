"""A repository on disk, read for checking: each model's folder with its config and its lines."""

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from toolkit.errors import Finding
from toolkit.repository.lines import Lines


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """One model: `folder` on disk, `shown` is how findings name its config."""

    folder: Path
    shown: str
    config: ModelConfig
    lines: Lines
    text: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def is_ensemble(self) -> bool:
        return self.config.platform == "ensemble" or bool(
            self.config.HasField("ensemble_scheduling")
        )

    @property
    def is_decoupled(self) -> bool:
        return bool(self.config.model_transaction_policy.decoupled)

    def versions(self) -> list[Path]:
        """The numbered folders; Triton ignores all others."""
        return sorted(
            path for path in self.folder.iterdir() if path.is_dir() and path.name.isdigit()
        )

    def finding(
        self, path: tuple[str | int, ...], problem: str, hint: str | None = None
    ) -> Finding:
        """A finding at the field `path`, such as ("input", 0, "dims")."""
        return Finding(self.shown, self.lines.find(*path), _dotted(path), problem, hint)


def read_folders(root: Path) -> tuple[dict[str, ModelFolder], list[Finding]]:
    """All models below `root` by name, and findings for those whose config cannot be read."""
    models: dict[str, ModelFolder] = {}
    findings: list[Finding] = []
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        model = _read(folder)
        if isinstance(model, Finding):
            findings.append(model)
        else:
            models[model.name] = model
    return models, findings


def _read(folder: Path) -> ModelFolder | Finding:
    shown = f"{folder.name}/config.pbtxt"
    try:
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return Finding(shown, 1, "", "there is no config.pbtxt", "every model here needs one")
    except (OSError, UnicodeDecodeError) as error:
        return Finding(shown, 1, "", f"cannot be read: {error}")
    try:
        config = text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        problem = str(error).split(" : ", 1)[-1]
        return Finding(shown, error.GetLine() or 1, "", problem, "Triton refuses the whole model")
    return ModelFolder(folder, shown, config, Lines(text), text)


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
