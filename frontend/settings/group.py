"""The base class of all groups of settings: frozen, with lists as values separated by commas."""

from pydantic import BaseModel, ConfigDict


class Group(BaseModel):
    """Settings of one subject."""

    model_config = ConfigDict(frozen=True)


def parts(value: str) -> list[str]:
    """The values of a list, without blanks around them."""
    return [part.strip() for part in value.split(",") if part.strip()]
