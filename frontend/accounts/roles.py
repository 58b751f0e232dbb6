"""The roles that every gateway begins with, and what a role allows. Pure.

What a role does not list is denied.
"""

from frontend.domain.identity import Permission, Role

_INFER = frozenset({Permission.PUBLIC, Permission.INFER})

ADMIN = Role("admin", 10, frozenset(Permission))
USER = Role("user", 1, _INFER)
"""Of a key file alone: its callers have no account that they could manage."""
FILE_ROLES = {role.name: role for role in (USER, ADMIN)}


def allows(role: Role, permission: Permission) -> bool:
    """Whether a caller with this role has this permission."""
    return permission in role.permissions
