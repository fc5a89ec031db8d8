"""What people who are signed in do for themselves: look, change their password, sign out."""

from fastapi import APIRouter

from app.deps import CallerDep, SessionsDep, SignInDep, UsersDep
from app.identity.schemas import Done, Me, PasswordChange
from app.keys.caller import Caller

router = APIRouter(prefix="/gateway/auth", tags=["Signing in"])


@router.get("/me", summary="Who am I?")
async def get_me(caller: CallerDep, users: UsersDep) -> Me:
    """Return the person who asks, and which project pays for calls that are made as this one was."""
    user = await users.get(_user_id(caller))
    return Me(
        id=user.id,
        email=user.email,
        name=user.name,
        role=user.role,
        projects=dict(caller.project_roles),
        project_id=caller.project_id,
        session_id=caller.key_id,
    )


@router.post("/password", summary="Change your password")
async def change_password(body: PasswordChange, caller: CallerDep, sign_in: SignInDep) -> Done:
    """Replace your password. Your other sessions end; this one goes on."""
    await sign_in.change_password(_user_id(caller), caller.key_id, body.current_password, body.new_password)
    return Done()


@router.post("/sign-out", summary="Sign out")
async def sign_out(caller: CallerDep, sessions: SessionsDep) -> Done:
    """End this session: its tokens stop working on every replica within a second."""
    await sessions.end(_user_id(caller), caller.key_id)
    return Done()


@router.post("/sign-out-everywhere", summary="Sign out everywhere")
async def sign_out_everywhere(caller: CallerDep, sessions: SessionsDep) -> Done:
    """End all your sessions, and stop believing tokens that your identity provider has issued until now."""
    await sessions.sign_out_everywhere(_user_id(caller))
    return Done()


def _user_id(caller: Caller) -> str:
    assert caller.user_id is not None, "these routes are for persons"  # noqa: S101 - narrows the type
    return caller.user_id
