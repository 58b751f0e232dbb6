"""The gateway's settings: environment variables, overridden by flags.

One class for each subject, joined into one flat `Settings`. Read once at start, by `app`,
`serve` and `commands`.
"""

from pydantic_settings import BaseSettings, SettingsConfigDict

from frontend.settings.audit import AuditSettings
from frontend.settings.batches import BatchSettings
from frontend.settings.caching import CacheSettings
from frontend.settings.limits import LimitSettings
from frontend.settings.logs import LogSettings
from frontend.settings.media import MediaSettings
from frontend.settings.oidc import OidcSettings
from frontend.settings.schemas import SchemaSettings
from frontend.settings.server import ServerSettings
from frontend.settings.sharing import SharingSettings
from frontend.settings.signin import SignInSettings
from frontend.settings.store import StoreSettings
from frontend.settings.telemetry import TelemetrySettings
from frontend.settings.traces import TraceSettings
from frontend.settings.upstreams import UpstreamSettings

_PREFIX = "TRITON_FRONTEND_"


class DatabaseSettings(StoreSettings, BaseSettings):
    """Only the settings of the store, for the commands that only work on its database."""

    # the environment also holds settings of the gateway that these commands do not know
    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")


class BackendSettings(UpstreamSettings, BaseSettings):
    """Only the settings of upstreams, for the command that registers them."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore")


class Settings(
    AuditSettings,
    BatchSettings,
    TelemetrySettings,
    LogSettings,
    TraceSettings,
    SignInSettings,
    OidcSettings,
    StoreSettings,
    SchemaSettings,
    MediaSettings,
    LimitSettings,
    SharingSettings,
    CacheSettings,
    UpstreamSettings,
    ServerSettings,
    BaseSettings,
):
    """Serve the gateway. `triton-gateway --help` lists the other commands."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        cli_prog_name="triton-gateway",
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        # a misspelt flag must not be ignored
        extra="forbid",
    )
