"""Which keys a caller may see and change beyond what `app/routes.py` says: those of its projects, and its own. Pure."""

from app.errors import Forbidden, NotFound
from app.identity.roles import PROJECT_RIGHTS
from app.keys.caller import Caller
from app.keys.record import KeyFilter, KeyRecord, NewKey


def seen_by(caller: Caller, wanted: KeyFilter) -> KeyFilter:
    """Return *wanted*, kept to what *caller* may see."""
    if caller.may("read", None):
        return wanted
    readable = tuple(name for name, role in caller.project_roles.items() if "read" in PROJECT_RIGHTS[role])
    return wanted._replace(seen_by=(caller.user_id or "", readable))


def require_change(caller: Caller, key: KeyRecord) -> None:
    """Raise Forbidden unless *caller*, who sees *key*, may change it: its own, or one where it may change things."""
    if caller.user_id is not None and key.user_id == caller.user_id:
        return
    if not caller.may("write", key.project_id):
        raise Forbidden("Your role does not allow this: it needs the right to write, or a key of your own.")


def require_creation(caller: Caller, new: NewKey) -> None:
    """Raise Forbidden or NotFound unless *caller* may make the key *new*: for itself, or where it may change things."""
    if caller.may("write", new.project_id):
        return
    if not caller.may("read", new.project_id):
        raise NotFound(f"There is no project '{new.project_id}'.", param="project_id")
    if caller.user_id is None or new.user_id != caller.user_id or not caller.may("call", new.project_id):
        raise Forbidden("Your role does not allow this: it needs the right to write, or to call for a key of your own.")
