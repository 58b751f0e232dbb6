"""The LoRA adapters of an engine, by name.

Adapters are configured; a request can only choose one by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_backends.errors import InvalidInput, clip, remedy
from python_backends.triton import Settings


@dataclass(frozen=True, slots=True)
class Adapters:
    """Adapter folders by name, in the config's order; vLLM's adapter number is the position."""

    folders: Mapping[str, Path]

    @classmethod
    def read(cls, settings: Settings) -> "Adapters":
        """From the parameter `adapters`; its paths are relative to the version's folder."""
        table = settings.table("adapters")
        return cls({name: settings.folder / str(path) for name, path in table.items()})

    def options(self, name: str | None) -> dict[str, Any]:
        """Keyword arguments for the engine's `generate`. Raises InvalidInput for an unknown
        name."""
        if not name:
            return {}
        if name not in self.folders:
            hint = remedy(name, self.folders)
            raise InvalidInput(
                f"there is no LoRA adapter '{clip(name, 64)}'; {hint}", param="lora_name"
            )
        from vllm.lora.request import LoRARequest  # type: ignore[import-not-found]

        # vLLM refuses the number 0
        number = list(self.folders).index(name) + 1
        return {"lora_request": LoRARequest(name, number, str(self.folders[name]))}
