"""What each role may do. Pure."""

from frontend.domain.identity import Permission, Role

_USER = frozenset({Permission.PUBLIC, Permission.INFER})
PERMISSIONS = {
    Role.USER: _USER,
    Role.ADMIN: _USER | {Permission.LOAD, Permission.OBSERVE},
}


def allows(role: Role, permission: Permission) -> bool:
    """Whether a caller with this role has this permission."""
    return permission in PERMISSIONS[role]
