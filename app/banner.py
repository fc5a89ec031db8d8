"""What `weir serve` prints for a person: where it listens, what to try first, and a new installation's keys."""

from typing import TYPE_CHECKING

from app.settings import Settings
from app.version import VERSION

if TYPE_CHECKING:
    from app.first_run import FirstKeys

_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a client can connect to instead


def banner(settings: Settings, keys: "FirstKeys | None") -> str:
    """Return the text: addresses, and for a new installation both keys with commands to copy.

    Keys that were given by `WEIR_BOOTSTRAP_*` are not shown again.
    """
    host = _UNSPECIFIED.get(settings.server.host, settings.server.host)
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"
    parts = [f"  Weir {VERSION} listens on {address}\n  Documentation to try it in: {address}/docs"]
    if keys is None:
        parts.append("  Keys were shown when they were made; `weir keys create` makes another.")
    else:
        parts += [_keys(settings, keys), *_first_call(settings, keys, address)]
    if settings.openai_api_key is None:
        parts.append(
            "  OPENAI_API_KEY is not set: the built-in simulator answers, for models named sim-*.\n"
            "  Set it and start again to reach OpenAI."
        )
    return "\n" + "\n\n".join(parts) + "\n"


def _keys(settings: Settings, keys: "FirstKeys") -> str:
    admin = keys.admin.value if settings.bootstrap_admin_key is None else "the one in WEIR_BOOTSTRAP_ADMIN_KEY"
    api = keys.api.value if settings.bootstrap_api_key is None else "the one in WEIR_BOOTSTRAP_API_KEY"
    return (
        "  This is a new installation. Its keys are shown now and never again:\n\n"
        f"    admin key  {admin}\n"
        f"    API key    {api}"
    )


def _first_call(settings: Settings, keys: "FirstKeys", address: str) -> tuple[str, ...]:
    """Return two commands that work as they are; they begin in the first column, as Python must when it is copied."""
    model = "sim-small" if settings.openai_api_key is None else "gpt-4o-mini"
    in_shell, in_python, imports = keys.api.value, f'"{keys.api.value}"', ""
    if settings.bootstrap_api_key is not None:
        in_shell, in_python = "$WEIR_BOOTSTRAP_API_KEY", 'os.environ["WEIR_BOOTSTRAP_API_KEY"]'
        imports = "import os\n"
    return (
        "  Your first call; x-weir-cost-usd is what it cost:",
        (
            f"curl -i {address}/v1/chat/completions \\\n"
            f'  -H "Authorization: Bearer {in_shell}" -H "Content-Type: application/json" \\\n'
            f'  -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}\''
        ),
        "  The same in Python (pip install openai):",
        (
            f"{imports}from openai import OpenAI\n"
            f'client = OpenAI(base_url="{address}/v1", api_key={in_python})\n'
            'messages = [{"role": "user", "content": "Say hello."}]\n'
            f'completion = client.chat.completions.create(model="{model}", messages=messages)\n'
            "print(completion.choices[0].message.content)"
        ),
    )
