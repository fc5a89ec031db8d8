"""Refusals that have to do with people: signing in, invites, roles. They belong to the tree in `errors.py`."""

from app.errors import Refusal


class InvalidGrant(Refusal):
    """The password is wrong, or there is no such account, or the refresh token does not work: all the same answer."""

    code = "invalid_grant"

    def __init__(self) -> None:
        super().__init__("This does not let you in: the e-mail, the password or the refresh token is not right.")


class UnsupportedGrantType(Refusal):
    """Tokens are given for a password or a refresh token, and nothing else (RFC 6749, section 5.2)."""

    code = "unsupported_grant_type"

    def __init__(self) -> None:
        super().__init__("Send 'grant_type=password' or 'grant_type=refresh_token'.", param="grant_type")


class TooManySignIns(Refusal):
    """Somebody tried to sign in too often, to one account or from one address; `Retry-After` says when to go on.

    `is_first` tells whether this is the first one refused in its window, which is written down.
    """

    status = 429
    type = "rate_limit_error"
    code = "too_many_sign_ins"

    def __init__(self, retry_after_seconds: int, *, is_first: bool = False) -> None:
        self.is_first = is_first
        super().__init__(
            f"Too many attempts to sign in. Try again in {retry_after_seconds} seconds.",
            headers={"retry-after": str(retry_after_seconds), "x-should-retry": "false"},
        )


class InvalidInvite(Refusal):
    """The invite's token is unknown, or the invite was accepted, deleted or has expired: all the same answer."""

    code = "invalid_invite"

    def __init__(self) -> None:
        super().__init__("This invite is not valid, or not any more. Ask for a new one.", param="token")


class InviteAccepted(Refusal):
    """The invite was accepted, so it cannot be deleted; the person that it made can be."""

    status = 409
    code = "invite_accepted"

    def __init__(self) -> None:
        super().__init__(
            "This invite was accepted and cannot be deleted. Delete the user instead.",
            param="invite_id",
            headers={"x-should-retry": "false"},
        )


class UserExists(Refusal):
    """There is a person with this e-mail address already."""

    status = 409
    code = "user_exists"

    def __init__(self) -> None:
        super().__init__(
            "There is a person with this e-mail address already.", param="email", headers={"x-should-retry": "false"}
        )


class LastOwner(Refusal):
    """The organization must keep an owner, so its last one can be neither demoted nor deleted."""

    status = 409
    code = "last_owner"

    def __init__(self) -> None:
        super().__init__(
            "This is the last owner of the organization. Make somebody else an owner first.",
            param="user_id",
            headers={"x-should-retry": "false"},
        )
