"""Errors that have to do with WebSockets. They belong to the tree in `errors.py`."""

from app.errors import Refusal


class UpgradeRequired(Refusal):
    """There is a WebSocket at this path, and nothing else (RFC 9110, section 15.5.22)."""

    status = 426
    code = "upgrade_required"

    def __init__(self) -> None:
        super().__init__(
            "This is a WebSocket: connect to it with a client that speaks RFC 6455.",
            headers={"upgrade": "websocket"},
        )


class SocketExpired(Refusal):
    """The WebSocket was open for as long as it may be."""

    code = "session_expired"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The connection hit the maximum duration of {seconds:.0f} seconds. Open a new one.")


class SocketIdle(Refusal):
    """Nothing was sent through the WebSocket for as long as that is waited for."""

    code = "session_idle"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Nothing was sent either way for {seconds:.0f} seconds. Open a new connection when needed.")
