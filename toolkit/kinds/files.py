"""Names and settings of a checkpoint's files, from which its kind is recognized; no tensors."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import SourceError

PIPELINE, MODULES = "model_index.json", "modules.json"
"""What diffusers writes into a pipeline's folder, and sentence-transformers into a model's."""
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification")


@dataclass(frozen=True, slots=True)
class Files:
    """`names` are relative to the checkpoint. `config` is that of a pipeline or of a model, empty
    if there is none; `modules` are the classes that modules.json lists."""

    names: Collection[str]
    config: Mapping[str, Any]
    modules: Sequence[str] = ()

    @property
    def architectures(self) -> list[str]:
        """The classes that saved the weights, the most specific first."""
        names = self.config.get("architectures")
        listed = names if isinstance(names, list) else [self.config.get("_class_name")]
        return [name for name in listed if isinstance(name, str) and name]

    @property
    def pools(self) -> bool:
        """Whether the model pools the tokens of a text into one vector."""
        return any(name.endswith("Pooling") for name in self.modules)

    @property
    def classifies(self) -> bool:
        """Whether the weights have a classification head and no pooling."""
        return not self.pools and self.saved_as(*_CLASSIFIERS)

    @property
    def translates(self) -> bool:
        """Whether the model has an encoder and a decoder, such as for translation."""
        # an encoder saved alone keeps the config of the pair
        both = self.config.get("is_encoder_decoder") is True
        return both and not self.pools and not self.saved_as("EncoderModel")

    @property
    def labels(self) -> int:
        """How many labels a classifier has; transformers' own default is 2."""
        names = self.config.get("id2label")
        count = len(names) if isinstance(names, dict) else self.config.get("num_labels")
        return count if isinstance(count, int) else 2

    def saved_as(self, *endings: str) -> bool:
        """Whether the name of a class that saved the weights ends with one of `endings`."""
        return any(name.endswith(endings) for name in self.architectures)


def read_files(folder: Path) -> Files:
    """Raises SourceError for a config that is not a JSON object."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    file = folder / (PIPELINE if PIPELINE in names else "config.json")
    if not file.exists() and MODULES in names:
        # sentence-transformers may keep the transformer's own config in `0_Transformer`
        file = next(folder.glob("*_Transformer/config.json"), file)
    config = _read(file) if file.exists() else {}
    if not isinstance(config, dict):
        raise SourceError(f"{file} is not a JSON object", hint="it should describe the model")
    modules = None
    if MODULES in names:
        with suppress(SourceError):  # the conversion says what is wrong with it
            modules = _read(folder / MODULES)
    return Files(names, config, module_types(modules))


def module_types(modules: Any) -> list[str]:
    """The classes in the content of a modules.json; none for what is not a list of modules."""
    listed = modules if isinstance(modules, list) else []
    return [str(each["type"]) for each in listed if isinstance(each, dict) and "type" in each]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
