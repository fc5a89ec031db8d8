"""Takes from LiteLLM's price file what genai-prices lacks for OpenAI's models. Build time only, never a dependency."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

_MILLION: Final = {
    "input": "input_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_12h": "cache_creation_input_token_cost_above_12hr",
    "input_audio": "input_cost_per_audio_token",
    "cached_input_audio": "cache_read_input_audio_token_cost",
    "input_image": "input_cost_per_image_token",
    "cached_input_image": "cache_read_input_image_token_cost",
    "output": "output_cost_per_token",
    "output_audio": "output_cost_per_audio_token",
    "output_image": "output_cost_per_image_token",
    "characters": "input_cost_per_character",
}
_TIER_SUFFIXES: Final = {
    "default": "",
    "flex": "_flex",
    "priority": "_priority",
    "ultrafast": "_ultrafast",
    "batch": "_batches",
}
_LONG_CONTEXT: Final = 272_000


def gaps_from(litellm: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return what the price file can use of LiteLLM's *litellm* file, OpenAI's models only."""
    own = {
        name: entry
        for name, entry in sorted(litellm.items())
        if isinstance(entry, dict)
        and entry.get("litellm_provider") in {"openai", "text-completion-openai"}
        and "/" not in name
        and entry.get("mode") != "video_generation"
    }
    container = litellm["openai/container"]["code_interpreter_cost_per_session"]
    return {
        "litellm_version": version,
        "code_interpreter_session_usd": usd_text(container),
        "models": {name: _gap(entry) for name, entry in own.items()},
    }


def _gap(entry: Mapping[str, Any]) -> dict[str, Any]:
    gap: dict[str, Any] = {}
    for ours, theirs in (("context_tokens_max", "max_input_tokens"), ("output_tokens_max", "max_output_tokens")):
        if entry.get(theirs):
            gap[ours] = int(entry[theirs])
    searches = entry.get("search_context_cost_per_query")
    if searches:
        gap["search_usd"] = usd_text(max(searches.values()))
    seconds = entry.get("input_cost_per_second") or entry.get("output_cost_per_second")
    if seconds:
        gap["audio_minute_usd"] = usd_text(seconds * 60)
    for tier, suffix in _TIER_SUFFIXES.items():
        rates = _rates(entry, suffix)
        if rates:
            gap[tier] = {"rates": rates}
            if long_rates := _rates(entry, f"_above_{_LONG_CONTEXT // 1000}k_tokens{suffix}"):
                gap[tier]["long_context"] = {"above_input_tokens": _LONG_CONTEXT, "rates": long_rates}
    return gap


def _rates(entry: Mapping[str, Any], suffix: str) -> dict[str, str]:
    found = {ours: entry[theirs + suffix] for ours, theirs in _MILLION.items() if theirs + suffix in entry}
    if entry["mode"] in {"embedding", "moderation"}:
        found.pop("output", None)
    # A write to the cache never costs less than not writing: there the file has taken it for a read.
    if found.get("cache_write", 0) < found.get("input", 0):
        found.pop("cache_write", None)
    if found.keys().isdisjoint({"input", "characters"}):
        return {}
    return {name: usd_text(value * 1_000_000) for name, value in found.items()}


def usd_text(value: Decimal) -> str:
    """Return *value* dollars with 2 to 9 decimals, what is beyond rounded up."""
    text = f"{value.quantize(Decimal('1e-9'), rounding=ROUND_CEILING):f}"
    dollars, fraction = text.split(".")
    return f"{dollars}.{fraction.rstrip('0').ljust(2, '0')}"
