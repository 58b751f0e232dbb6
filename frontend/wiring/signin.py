"""How people sign in: the forms, the steps after a password, and the provider."""

from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.users import Users
from frontend.accounts.sessions import Sessions
from frontend.accounts.throttle import Throttle
from frontend.dashboard.forms import Forms
from frontend.dashboard.single import SignOn, SingleRoutes
from frontend.settings import Settings
from frontend.turns import Turns

_MAX_AT_PROVIDER = 64


def make_forms(settings: Settings, sessions: Sessions, cookies: Cookies) -> Forms:
    """The forms that pages and steps share."""
    provider = settings.oidc_name if settings.oidc_issuer else ""
    return Forms(sessions, cookies, settings.proxies, provider)


def make_single(settings: Settings, forms: Forms, users: Users) -> SingleRoutes:
    """Sign-ins through the provider, where there is one."""
    sign_on = _sign_on(settings, users) if settings.oidc_issuer else None
    return SingleRoutes(
        forms, sign_on, settings.public_url, Throttle(), Turns(8, max_waiting=_MAX_AT_PROVIDER)
    )


def _sign_on(settings: Settings, users: Users) -> SignOn:
    # only here: most gateways have no provider, and these load cryptography and an HTTP client
    from frontend.oidc.people import Link, People, Place, Rules  # noqa: PLC0415
    from frontend.oidc.provider import Provider, Registration  # noqa: PLC0415
    from frontend.oidc.signon import SignOn as OpenId  # noqa: PLC0415

    me = Registration(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_secret,
        " ".join(part.strip() for part in settings.oidc_scopes.split(",")),
        settings.oidc_timeout_s,
        settings.oidc_leeway_s,
    )
    rules = Rules(
        settings.oidc_unknown == "create",
        Link(settings.oidc_link),
        {group: Place(*place) for group, place in settings.oidc_places.items()},
        settings.oidc_role,
        settings.oidc_name_claim,
        settings.oidc_email_claim,
        settings.oidc_groups_claim,
    )
    return OpenId(settings.oidc_name, Provider(me), People(users, rules))
