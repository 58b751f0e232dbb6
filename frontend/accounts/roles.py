"""The initial roles of every gateway, and the check of permissions. Pure.

A permission that a role does not list is denied.
"""

from frontend.domain.identity import Permission, Role

_INFER = frozenset({Permission.PUBLIC, Permission.INFER})

_MEMBER = _INFER | {Permission.SELF}

ADMIN = Role("admin", 10, frozenset(Permission))
USER = Role("user", 1, _INFER)
"""Only of a key file: its callers have no account that they could manage."""
SEEDED = {
    role.name: role
    for role in (
        ADMIN,
        Role("faculty", 3, _MEMBER),
        Role("staff", 2, _MEMBER),
        Role("student", 1, _MEMBER),
        Role("service", 1, _MEMBER),
    )
}
"""The roles of a new database; their weights and permissions can be edited there."""
FILE_ROLES = {role.name: role for role in (USER, ADMIN)}
DEFAULT_ROLE = "student"
GRANTABLE = [permission.value for permission in Permission if permission is not Permission.PUBLIC]
"""What a role can list."""


def allows(role: Role, permission: Permission) -> bool:
    """Whether a caller with this role has this permission."""
    return permission in role.permissions
