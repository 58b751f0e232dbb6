"""Which models are loaded, changed at an admin's wish. Loads what the repository holds, no more."""

from dataclasses import dataclass

from frontend.errors import NotFound
from frontend.upstreams.registry import Catalogue
from frontend.upstreams.triton.client import Triton


@dataclass(frozen=True, slots=True)
class Presence:
    """Loads and unloads public models, with the steps that belong to them."""

    triton: Triton
    catalogue: Catalogue

    async def find(self, names: list[str]) -> str:
        """The first of `names` that the repository holds, as Triton calls it. Raises NotFound."""
        held = await self.triton.repository()
        for name in names:
            if (own := self.catalogue.own_name(name)) in held:
                return own
        raise NotFound(
            f"the repository holds no model '{names[0][:100]}'; the operator builds it"
            " (toolkit build-repo)",
            param="model",
            code="model_not_found",
        )

    async def load(self, name: str) -> None:
        """Loads it, or what changed of it. Raises BackendFailed."""
        await self.triton.load(name)
        await self.catalogue.refresh()

    async def unload(self, name: str) -> None:
        """Takes it from everybody."""
        await self.triton.unload(name)
        await self.catalogue.refresh()
