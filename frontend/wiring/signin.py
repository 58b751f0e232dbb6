"""Who may call, and how people sign in: keys, sessions, forms and the provider."""

from dataclasses import dataclass

from frontend.accounts.authorize import Authorizer
from frontend.accounts.callers import Callers
from frontend.accounts.cookies import Cookies
from frontend.accounts.directory.users import Users
from frontend.accounts.keys import Keys
from frontend.accounts.passwords import Passwords
from frontend.accounts.sessions import Lifetimes, Sessions
from frontend.accounts.throttle import Throttle
from frontend.dashboard.forms import Forms
from frontend.dashboard.single import SignOn, SingleRoutes
from frontend.settings import Settings
from frontend.store.database import Database
from frontend.turns import Turns

_MAX_AT_PROVIDER = 64


@dataclass(frozen=True, slots=True)
class Access:
    """The objects that identify callers and check what they may do."""

    callers: Callers
    sessions: Sessions
    cookies: Cookies
    authorizer: Authorizer


def make_access(settings: Settings, database: Database, passwords: Passwords) -> Access:
    """Raises KeyFileError: a broken file must end the start, not the first request."""
    keys = None if settings.keys_file is None else Keys(settings.keys_file)
    if keys is not None:
        keys.read()
    callers = Callers(database)
    lifetimes = Lifetimes(settings.session_idle_s, settings.session_longest_s)
    sessions = Sessions(database, passwords, lifetimes, frozenset(settings.factor_roles))
    cookies = Cookies(secure=settings.public_url.startswith("https:"))
    authorizer = Authorizer(
        keys, callers, open=not settings.keys_are_required, sessions=sessions, cookies=cookies
    )
    return Access(callers, sessions, cookies, authorizer)


def make_forms(settings: Settings, access: Access) -> Forms:
    """The forms that pages and steps share."""
    provider = settings.oidc_name if settings.oidc_issuer else ""
    return Forms(access.sessions, access.cookies, settings.proxies, provider)


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
