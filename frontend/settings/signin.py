"""How people sign in with a browser."""

from typing import Self

from pydantic import Field, model_validator

from frontend.settings.group import Group, parts


class SignInSettings(Group):
    """Sessions of browsers."""

    session_idle_s: int = Field(
        default=12 * 3600,
        ge=60,
        le=365 * 86_400,
        description="Seconds without use after which a browser session ends.",
    )
    session_longest_s: int = Field(
        default=7 * 86_400,
        ge=60,
        le=365 * 86_400,
        description="Maximum duration of a browser session in seconds.",
    )

    second_factor_roles: str = Field(
        default="",
        description="Roles whose users need a second factor (an app with codes) to sign in with a"
        " password: `admin,staff`. Users without one set it up at their next sign-in.",
    )

    @property
    def factor_roles(self) -> list[str]:
        """`second_factor_roles`, one by one."""
        return parts(self.second_factor_roles)

    @model_validator(mode="after")
    def _are_in_order(self) -> Self:
        if self.session_idle_s > self.session_longest_s:
            raise ValueError(
                f"session_idle_s is {self.session_idle_s}, more than session_longest_s, which is"
                f" {self.session_longest_s}; a session cannot be unused for longer than it lasts"
            )
        return self
