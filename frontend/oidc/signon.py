"""The provider and the rules for its people, as one: what the pages call."""

from dataclasses import dataclass

from frontend.domain.accounts import User
from frontend.errors import InvalidRequest
from frontend.oidc.people import People
from frontend.oidc.provider import Flow, Provider
from frontend.oidc.tokens import refused

_MAX_CODE = 4096


@dataclass(frozen=True, slots=True)
class SignOn:
    """`name` is how pages call the provider."""

    name: str
    provider: Provider
    people: People

    async def begin(self, made: tuple[str, str, str], back: str) -> str:
        """The page of the provider that a browser goes to. Raises Overloaded while it is down."""
        return await self.provider.begin(Flow(*made, back))

    async def finish(
        self, made: tuple[str, str, str], back: str, answer: dict[str, str], signed_in: str
    ) -> User:
        """The account of the user who signed in; `answer` has the parameters of the provider's
        redirect.

        Raises Forbidden if the sign-in failed, InvalidRequest if there is no code, and Overloaded
        while the provider does not answer.
        """
        if "error" in answer:
            raise refused(f"it did not sign you in ({answer['error'][:60]})")
        code = answer.get("code", "")
        if not 1 <= len(code) <= _MAX_CODE:
            raise InvalidRequest("the answer of the sign-in provider has no code", param="code")
        claims = await self.provider.finish(Flow(*made, back), code, answer.get("iss"))
        return await self.people.resolve(self.provider.me.issuer, claims, signed_in)

    async def end(self, back: str) -> str | None:
        """The page of the provider that ends its own session; None without one."""
        return await self.provider.end(back)
