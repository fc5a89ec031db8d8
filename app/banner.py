"""What `weir serve` prints for a person: where it listens, what to try first, and a new installation's keys."""

from app.first_run import FirstKeys
from app.settings import Settings

_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what a client can connect to instead


def banner(settings: Settings, keys: FirstKeys | None) -> str:
    """Return the text: addresses, and for a new installation both keys with commands to copy."""
    host = _UNSPECIFIED.get(settings.server.host, settings.server.host)
    address = f"http://{host}:{settings.server.port}"
    lines = ["", f"  Weir listens on {address}   docs: {address}/docs", ""]
    if keys is None:
        lines += ["  Keys are shown once, when they are made; `weir keys create` makes another.", ""]
        return "\n".join(lines)
    model = "sim-small" if settings.openai_api_key is None else "gpt-4o-mini"
    lines += [
        "  This is a new installation. Its keys are shown now and never again:",
        "",
        f"    admin key  {keys.admin.value}",
        f"    API key    {keys.api.value}",
        "",
        "  Your first call:",
        "",
        f"    curl {address}/v1/chat/completions \\",
        f'      -H "Authorization: Bearer {keys.api.value}" \\',
        '      -H "Content-Type: application/json" \\',
        f'      -d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Say hello."}}]}}\'',
        "",
        "  The same in Python (pip install openai):",
        "",
        "    from openai import OpenAI",
        f'    client = OpenAI(base_url="{address}/v1", api_key="{keys.api.value}")',
        f'    print(client.chat.completions.create(model="{model}",',
        '        messages=[{"role": "user", "content": "Say hello."}]).choices[0].message.content)',
        "",
    ]
    if settings.openai_api_key is None:
        lines += [
            "  No OPENAI_API_KEY is set, so the built-in simulator answers, for models named sim-*.",
            "  Set it and start again to reach OpenAI.",
            "",
        ]
    return "\n".join(lines)
