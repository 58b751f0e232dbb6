"""The OpenID provider that people may sign in with."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from frontend.settings.group import Group, parts


class OidcSettings(Group):
    """The provider; without an issuer there is none."""

    oidc_issuer: str = Field(
        default="",
        description="Issuer of the OpenID provider that people sign in with:"
        " `https://login.example.com/realms/lab`. Its redirect URI for this gateway is"
        " `PUBLIC_URL/login/oidc/callback`.",
    )
    oidc_client_id: str = Field(
        default="", description="Client id of this gateway at the provider."
    )
    oidc_client_secret_file: Path | None = Field(
        default=None, description="File with the client's secret. Empty for a public client."
    )
    oidc_name: str = Field(
        default="single sign-on",
        min_length=1,
        max_length=60,
        description="Name of the provider on the pages.",
    )
    oidc_scopes: str = Field(
        default="openid,profile,email", description="Scopes to request; must contain `openid`."
    )
    oidc_name_claim: str = Field(
        default="preferred_username", min_length=1, description="Claim with the name of a new user."
    )
    oidc_email_claim: str = Field(
        default="email", min_length=1, description="Claim with the e-mail address."
    )
    oidc_groups_claim: str = Field(
        default="groups", min_length=1, description="Claim with the groups of a user."
    )
    oidc_groups: str = Field(
        default="",
        description="Roles and groups for the provider's groups, applied at each sign-in:"
        " `gpu-admins=admin,staff=staff,course-7=student/course7` gives roles, and a group after"
        " the slash. The first entry that matches a user applies; users without a match get"
        " `oidc_role`.",
    )
    oidc_role: str = Field(
        default="student",
        min_length=1,
        description="Role of users without a match in `oidc_groups`.",
    )
    oidc_unknown: str = Field(
        default="refuse",
        pattern="^(refuse|create)$",
        description="What to do when a person without an account signs in: `refuse`, or `create`"
        " an account.",
    )
    oidc_link: str = Field(
        default="signed-in",
        pattern="^(never|signed-in|verified-email)$",
        description="When an existing account is linked to the provider: `never`; `signed-in`: by"
        " its user on the account page; `verified-email`: also when the provider has verified"
        " the account's e-mail address. With `verified-email` the provider can sign in to local"
        " accounts, and users cannot change their own addresses.",
    )
    oidc_timeout_s: float = Field(
        default=5, gt=0, le=30, description="Timeout of a request to the provider in seconds."
    )
    oidc_leeway_s: int = Field(
        default=60,
        ge=0,
        le=600,
        description="Allowed difference to the provider's clock in seconds.",
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _is_secure(cls, value: str) -> str:
        url = urlsplit(value)
        local = url.hostname in ("localhost", "127.0.0.1", "::1")
        plain = not (url.query or url.fragment or url.username)
        secure = url.scheme == "https" or (url.scheme == "http" and local)
        if value and not (secure and url.hostname and plain):
            raise ValueError(
                f"'{value[:100]}' is not an issuer such as 'https://login.example.com'; http is for"
                " loopback addresses only"
            )
        return value

    @field_validator("oidc_groups")
    @classmethod
    def _are_places(cls, value: str) -> str:
        for part in parts(value):
            group, equals, place = part.rpartition("=")
            if not (equals and group.strip() and place.partition("/")[0].strip()):
                raise ValueError(f"'{part}' is not GROUP=ROLE or GROUP=ROLE/GROUP")
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.oidc_issuer and not self.oidc_client_id:
            raise ValueError(
                "oidc_client_id is missing; set the client id that the provider issued"
            )
        if self.oidc_issuer and "openid" not in parts(self.oidc_scopes):
            raise ValueError(f"oidc_scopes is '{self.oidc_scopes}'; it must contain 'openid'")
        if self.oidc_issuer:
            _ = self.oidc_secret
        return self

    @property
    def oidc_secret(self) -> str:
        """The client's secret. Raises ValueError for a file that cannot be read."""
        if self.oidc_client_secret_file is None:
            return ""
        try:
            secret = self.oidc_client_secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"oidc_client_secret_file: {error}") from error
        if not secret:
            raise ValueError(f"oidc_client_secret_file: {self.oidc_client_secret_file} is empty")
        return secret

    @property
    def oidc_places(self) -> dict[str, tuple[str, str]]:
        """(role, group here) by the provider's group, in order."""
        places = {}
        for part in parts(self.oidc_groups):
            group, _, place = part.rpartition("=")
            role, _, here = place.partition("/")
            places[group.strip()] = (role.strip(), here.strip())
        return places
