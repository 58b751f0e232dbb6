"""The operations on organisations, users, keys, and the caller's account."""

from frontend.dialects.admin import bodies as admin
from frontend.openapi.operations.operation import OBJECT, Operation, listing, managed

ACCOUNTS: tuple[Operation, ...] = (
    listing("/admin/organisations", "List organisations", "search", "ids"),
    *managed(
        "/admin/organisations", "an organisation", admin.OrganisationBody, admin.OrganisationEdit
    ),
    listing(
        "/admin/groups", "List groups", "organisation_id", "name", "search", "ids"
    ),
    *managed("/admin/groups", "a group", admin.GroupBody, admin.GroupEdit),
    listing("/admin/roles", "List roles"),
    *managed("/admin/roles", "a role", admin.RoleBody, admin.RoleEdit),
    listing(
        "/admin/users", "List users", "group_id", "role", "name", "email", "search", "ids"
    ),
    *managed("/admin/users", "a user", admin.UserBody, admin.UserEdit),
    Operation(
        "POST", "/admin/users/{id}/password", "Set a one-time password and return it",
        answer=("id", "password", "must_be_changed"),
    ),
    Operation(
        "DELETE", "/admin/users/{id}/second-factor", "Remove a user's second factor",
        answer=("id", "enabled"),
    ),
    listing("/admin/keys", "List the keys of all users", "user_id", "search", "ids"),
    *managed("/admin/keys", "a key of any user", admin.KeyBody, admin.KeyEdit),
    Operation(
        "POST", "/admin/keys/{id}/rotate", "Rotate a key: get a new secret", admin.RotationBody,
        answer=("id", "key"),
    ),
    listing("/admin/key-requests", "List requests for keys", "status", "search", "order"),
    Operation("GET", "/admin/key-requests/{id}", "Get a request for a key", answer=OBJECT),
    Operation(
        "POST", "/admin/key-requests/{id}/approve",
        "Approve a request for a key: create the account and the key",
        admin.ApprovalBody, answer=OBJECT,
    ),
    Operation(
        "POST", "/admin/key-requests/{id}/refuse", "Refuse a request for a key",
        admin.RefusalBody, answer=OBJECT,
    ),
    listing(
        "/admin/events", "List changes of accounts", "actor_id", "target_id", "action", "search",
        "order",
    ),
    Operation(
        "POST", "/key-requests", "Request an account; its key becomes valid with the approval",
        admin.FormBody, answer=("id", "status", "key"), status="202",
    ),
    Operation(
        "GET", "/key-requests/{id}", "Get your own request, with its key", answer=("id", "status")
    ),
    Operation("GET", "/me", "Get your own account", answer=OBJECT),
    Operation("PATCH", "/me", "Edit your own account", admin.OwnEdit, answer=OBJECT),
    Operation("POST", "/me/password", "Change your own password", admin.PasswordBody),
    Operation(
        "GET", "/me/second-factor", "Get whether a second factor is in use",
        answer=("enabled", "recovery_codes_left"),
    ),
    Operation(
        "POST", "/me/second-factor", "Begin the setup of a second factor", admin.FactorBody,
        answer=("secret", "uri", "image"),
    ),
    Operation(
        "POST", "/me/second-factor/confirm", "Enable the second factor with its first code",
        admin.CodeBody,
        answer=("enabled", "recovery_codes"),
    ),
    Operation(
        "POST", "/me/second-factor/remove", "Remove the second factor",
        admin.CodeBody, answer=("enabled",)
    ),
    Operation("GET", "/me/sessions", "List your own sessions", answer=("object", "data")),
    Operation("DELETE", "/me/sessions/{id}", "End one of your own sessions", answer=OBJECT),
    Operation("POST", "/me/sessions/end-others", "End all your other sessions", answer=("ended",)),
    listing("/me/keys", "List your own keys"),
    *managed("/me/keys", "one of your own keys", admin.OwnKeyBody, admin.KeyEdit),
    Operation(
        "POST", "/me/keys/{id}/rotate", "Rotate a key: get a new secret", admin.RotationBody,
        answer=("id", "key"),
    ),
)  # fmt: skip
