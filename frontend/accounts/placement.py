"""Reads the current placement rules of a group, for work that began earlier."""

from frontend.accounts.directory.groups import Groups
from frontend.domain.labels import Rules, make_rules
from frontend.errors import NotFound


async def rules_of(groups: Groups, group_id: str, before: Rules) -> Rules:
    """The rules of a group, or `before` if the group was deleted. Raises StoreUnavailable while the
    database cannot be reached."""
    if not group_id:
        return before
    try:
        group = await groups.get(group_id)
    except NotFound:
        return before
    return make_rules(group.upstreams)
