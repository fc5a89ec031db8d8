"""What a command says of a failure that was foreseen. Imported when there is one: it knows every feature's."""

from typing import NamedTuple

from app.core.db import DatabaseUnavailable
from app.core.schema import SchemaError
from app.embedded.servers import EmbeddedServerError
from app.errors import WeirError
from app.reconciliation.failure import ProviderFailed
from app.serve import PortTaken
from app.settings import SettingsError


class Foreseen(NamedTuple):
    """What a person is told, and the exit status."""

    message: str
    status: int = 1


def foreseen(error: Exception) -> Foreseen | None:
    """Return what to say of *error*, None for one that only a traceback explains."""
    match error:
        case SettingsError():
            return Foreseen("the configuration cannot be used:\n  " + str(error).replace("\n", "\n  "), status=2)
        case DatabaseUnavailable():
            return Foreseen(f"the database cannot be reached: {error.reason}; `weir doctor` says what to do")
        case EmbeddedServerError() | ProviderFailed() | SchemaError() | PortTaken():
            return Foreseen(str(error))
        case WeirError():
            return Foreseen(error.message)
    return None
