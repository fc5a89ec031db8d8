"""The environment variables of all settings, and those that look like one but are not read by any."""

import difflib
from collections.abc import Iterator, Mapping

from app.setting_groups import Group
from app.settings import Settings, variable


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a line for each `WEIR_*` variable that no setting reads, with the nearest name that exists.

    They are a warning, not an error: Kubernetes injects `WEIR_SERVICE_HOST` and the like beside a service named weir.
    """
    known = sorted(setting_names())
    lines = []
    for name in sorted(environ):
        if name.startswith("WEIR_") and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else ""))
    return lines


def setting_names() -> Iterator[str]:
    """Yield the environment variable of every setting."""
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Group):
            yield from (f"WEIR_{name}__{inner}".upper() for inner in group.model_fields)
        else:
            yield variable((name,))
