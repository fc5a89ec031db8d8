"""Writes `app/prices/prices.json` from the installed genai-prices package and gaps filled from LiteLLM's price file.

Build time only. The output depends on the two sources alone: same sources, same bytes. What LiteLLM adds is kept in
`scripts/litellm_gaps.json`, so that its file is needed only to take it anew (`--litellm`, `--litellm-version`).
"""

import argparse
import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from genai_prices import types as genai
from genai_prices.data import providers

from app.core.clock import utc_now
from app.prices.book import SERVICE_TIERS
from app.prices.price_file import FIELDS
from app.prices.rates import MILLION_DIMENSIONS, UNIT_DIMENSIONS
from scripts.litellm_gaps import gaps_from, usd_text

ROOT: Final = Path(__file__).resolve().parent.parent
PRICES: Final = ROOT / "app" / "prices" / "prices.json"
GAPS: Final = ROOT / "scripts" / "litellm_gaps.json"

Row = dict[str, Any]

UNDATED: Final = date(2020, 1, 1)
"""A price without a start date is valid from here on, before any call that Weir could have relayed."""

# Names that a rule which is no exact name and no prefix is known to match.
ENUMERATED: Final = {"moderation": ("omni-moderation-*", "text-moderation-*")}
# `gpt-5-4` is `gpt-5.4` where a name must not have a point, but `gpt-5-2025-08-07` is not.
DASHED: Final = re.compile(r"^gpt-(\d)-(\d)(?!\d{3})")
DATED: Final = re.compile(r"(?P<base>.+)-20\d\d-\d\d-\d\d")
DATED_RULE: Final = re.compile(r"\^(?P<base>(?:[\w-]|\\\.)+)-\\d\{4\}-\\d\{2\}-\\d\{2\}\$")

GENAI_MILLION: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_input_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_input_image",
    "output_mtok": "output",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "input_mchars": "characters",
}
GENAI_UNIT: Final = {
    "audio_hours": ("audio_minutes", 60),
    "input_audio_hours": ("audio_minutes", 60),
    "web_searches_kcount": ("web_searches", 1000),
    "storage_searches_kcount": ("file_searches", 1000),
}
# Dollars for a call of a tool that OpenAI runs, which it charges alike with every model that can call it; the sources
# name them for some models only. Rows that were shipped without them stay as they are: others of this date have them.
TOOL_FEES: Final = {"web_searches": "0.01", "file_searches": "0.0025"}
PREVIEW_FEE: Final = "0.025"
TOOL_FEES_SINCE: Final = date(2026, 11, 24).isoformat()
# LiteLLM says for plain names only what text costs that is kept for twelve hours; dated names cost the same.
LIFETIMES_SINCE: Final = date(2026, 11, 25).isoformat()
NOT_REASONING: Final = re.compile(r"(ft:|chat)?gpt-[34]")
WITHOUT_TOOLS: Final = re.compile(r"gpt-oss|(ft:)?(text-)?(ada|babbage|curie|davinci)")
MEDIA: Final = frozenset({"input_audio", "input_image", "output_audio", "output_image"})
LEFT_OUT: Final = (
    "LiteLLM: prices of GPT images by size and quality (the models bill tokens), video by the second (not here)",
    "LiteLLM: the uplift for regional processing, prices of the decisions endpoint, prices per pixel",
)
# Dollars for an image, by quality and size, as OpenAI published them; neither source has them in this form.
DALL_E: Final = {
    "dall-e-2": {"256x256": "0.016", "512x512": "0.018", "1024x1024": "0.02"},
    "dall-e-3": {
        "1024x1024": "0.04",
        "1024x1792": "0.08",
        "1792x1024": "0.08",
        "hd/1024x1024": "0.08",
        "hd/1024x1792": "0.12",
        "hd/1792x1024": "0.12",
    },
}


def build(gaps: Mapping[str, Any], version: str) -> tuple[dict[str, Any], list[str]]:
    """Return the whole price file, and what of the sources it leaves out, in words."""
    openai = next(provider for provider in providers if provider.id == "openai")
    left_out = list(LEFT_OUT)
    unclaimed = {name for name in gaps["models"] if openai.find_model(name) is None}
    rows: dict[tuple[str, str, str], Row] = {}
    for model in openai.models:
        names = _names(model, left_out)
        # A dated snapshot that only LiteLLM knows costs what the model does that it is a snapshot of.
        snapshots = {name for name in unclaimed if (m := DATED.fullmatch(name)) and model.is_match(m["base"])}
        unclaimed -= snapshots
        standard = _genai_rows(model, left_out)
        for name in _collapse([*names, *sorted(snapshots)]):
            entry = _entry(name, gaps["models"])
            filled = _filled(name, standard, entry, gaps["code_interpreter_session_usd"])
            for row in (*filled, *_rows_with_lifetimes(name, filled, gaps["models"])):
                rows.setdefault((row["model"], row["service_tier"], row["valid_from"]), row)
    for name in unclaimed:
        pattern = f"{name}*" if name.startswith("ft:") else name
        for row in _filled(pattern, [], gaps["models"][name], gaps["code_interpreter_session_usd"]):
            rows.setdefault((row["model"], row["service_tier"], row["valid_from"]), row)
    for row in (*_dall_e_rows(), *_simulator_rows()):
        rows[row["model"], row["service_tier"], row["valid_from"]] = row
    document = {
        "version": version,
        "generated_from": [
            {"name": "genai-prices", "version": importlib.metadata.version("genai-prices"), "license": "MIT"},
            {"name": "litellm", "version": gaps["litellm_version"], "license": "MIT"},
        ],
        "prices": sorted(rows.values(), key=_order),
    }
    return document, left_out


def text_of(document: Mapping[str, Any]) -> str:
    """Return *document* as JSON text with one line for each price or model, so that a change reads as a change."""
    lines = ["{"]
    last = list(document)[-1]
    for key, value in document.items():
        comma = "" if key == last else ","
        if isinstance(value, list):
            body = ",\n".join(f"    {json.dumps(item)}" for item in value)
            lines.append(f"  {json.dumps(key)}: [\n{body}\n  ]{comma}")
        elif isinstance(value, dict):
            body = ",\n".join(f"    {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            lines.append(f"  {json.dumps(key)}: {{\n{body}\n  }}{comma}")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}{comma}")
    return "\n".join([*lines, "}", ""])


def _names(model: genai.ModelInfo, left_out: list[str]) -> list[str]:
    names: list[str] = []
    for clause in _alternatives(model.match):
        match clause:
            case genai.ClauseEquals(equals=name):
                names.append(name)
            case genai.ClauseStartsWith(starts_with=prefix):
                names.append(f"{prefix}*")
            case genai.ClauseContains(contains=part) if part in ENUMERATED:
                names += ENUMERATED[part]
            case genai.ClauseRegex(regex=rule) if dated := DATED_RULE.fullmatch(rule):
                names.append(dated["base"].replace("\\", "") + "-20*")
            case _:
                left_out.append(f"genai-prices: the rule {clause} of {model.id}")
    return names


def _alternatives(clause: Any) -> Iterator[Any]:
    if isinstance(clause, genai.ClauseOr):
        for part in clause.or_:
            yield from _alternatives(part)
    else:
        yield clause


def _collapse(names: Iterable[str]) -> list[str]:
    """Return *names* with the dated snapshots of a name that is itself among them as one pattern."""
    known = dict.fromkeys(names)
    return list(
        dict.fromkeys(
            f"{dated['base']}-20*" if (dated := DATED.fullmatch(name)) and dated["base"] in known else name
            for name in known
        )
    )


def _genai_rows(model: genai.ModelInfo, left_out: list[str]) -> list[Row]:
    """Return the prices of *model* without its name, each tier's newest last."""
    conditional = model.prices if isinstance(model.prices, list) else []
    variants = model.price_variants or []
    starts = {UNDATED}
    for constraint in (*(item.constraint for item in conditional), *(item.constraint for item in variants)):
        if isinstance(constraint, genai.StartDateConstraint):
            starts.add(constraint.start_date)
        elif constraint is not None:
            left_out.append(f"genai-prices: a price of {model.id} by time of day")
    rows: list[Row] = []
    for tier in SERVICE_TIERS:
        context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
        before: Row = {}
        for start in sorted(starts):
            moment = datetime.combine(start, time(), UTC)
            own = [v for v in variants if v.when == context and (not v.constraint or v.constraint.active(moment))]
            if tier != "default" and not own:
                continue
            priced = _genai_price(model.get_prices(moment, context), model.id, left_out)
            if priced != before:
                row = {"service_tier": tier, "valid_from": start.isoformat(), **priced, "source": "genai-prices"}
                if model.context_window:
                    row["context_tokens_max"] = model.context_window
                rows.append(row)
            before = priced
    _note_unknown_variants(model, left_out)
    return rows


def _note_unknown_variants(model: genai.ModelInfo, left_out: list[str]) -> None:
    """Note the variants that no tier of ours stands for; `fast` is `priority` by another name if it costs the same."""
    now = utc_now()
    known = [{"processing": "batch"}, *({"service_tier": tier} for tier in SERVICE_TIERS)]
    if model.get_prices(now, {"service_tier": "fast"}) == model.get_prices(now, {"service_tier": "priority"}):
        known.append({"service_tier": "fast"})
    left_out += [
        f"genai-prices: the price of {model.id} for {variant.when}"
        for variant in model.price_variants or []
        if variant.when not in known
    ]


def _genai_price(price: genai.ModelPrice, model_id: str, left_out: list[str]) -> Row:
    rates, long_rates, units, above = {}, {}, {}, None
    for key, value in vars(price).items():
        if value is None:
            continue
        if key in GENAI_UNIT:
            name, per = GENAI_UNIT[key]
            units[name] = usd_text(value / per)
        elif key not in GENAI_MILLION:
            left_out.append(f"genai-prices: {key} of {model_id}")
        elif isinstance(value, genai.TieredPrices):
            (tier,) = value.tiers
            if above not in (None, tier.start):
                raise ValueError(f"{model_id} has two thresholds, {above} and {tier.start}")
            above = tier.start
            rates[GENAI_MILLION[key]], long_rates[GENAI_MILLION[key]] = usd_text(value.base), usd_text(tier.price)
        else:
            rates[GENAI_MILLION[key]] = usd_text(value)
    row: Row = {"rates": rates if rates or units else {"input": usd_text(Decimal(0))}}
    if long_rates:
        row["long_context"] = {"above_input_tokens": above, "rates": long_rates}
    if units:
        row["per_unit_usd"] = units
    return row


def _entry(pattern: str, models: Mapping[str, Row]) -> Row:
    """Return LiteLLM's entry for *pattern*: the name's own, else the one of its names that says most."""
    names = {pattern, DASHED.sub(r"gpt-\1.\2", pattern)}
    prefixes = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    matching = [name for name in models if name in names or (prefixes and name.startswith(prefixes))]
    most = max(matching, key=lambda name: (name == pattern, len(json.dumps(models[name])), name), default="")
    return models.get(most, {})


def _filled(pattern: str, standard: list[Row], entry: Row, session_usd: str) -> list[Row]:
    """Return the rows of *pattern*: genai-prices' *standard* ones, with what only LiteLLM's *entry* says."""
    rows = deepcopy(standard)
    if not rows:
        rows.append({"service_tier": "default", "valid_from": UNDATED.isoformat(), "source": "litellm", "rates": {}})
        rows[0] |= deepcopy(entry.get("default", {}))
    known = {row["service_tier"] for row in rows}
    newest = [row for row in rows if row["service_tier"] == "default"][-1]
    for tier in SERVICE_TIERS:
        if tier in entry and tier not in known:
            # What the tier does not price itself it charges like the default one, as genai-prices' variants do.
            rates = {**newest["rates"], **entry[tier]["rates"]}
            rows.append({**deepcopy(newest), **deepcopy(entry[tier]), "rates": rates})
            rows[-1] |= {"service_tier": tier, "source": "litellm"}
    for row in rows:
        _fill_rates(row, entry.get(row["service_tier"], {}))
        _fill_units(row, entry, session_usd, searches_always="-search-" in pattern)
        for limit in ("context_tokens_max", "output_tokens_max"):
            row[limit] = max(row.get(limit, 0), entry.get(limit, 0))
    rows += _rows_with_tool_fees(pattern, rows, session_usd)
    return [_ordered({"model": pattern, **row}) for row in rows]


def _fill_rates(row: Row, gap: Row) -> None:
    if not gap or gap["rates"].get("input") != row["rates"].get("input"):
        return
    row["rates"] = {**gap["rates"], **row["rates"]}
    if "long_context" in gap:
        own = row.get("long_context") or gap["long_context"]
        row["long_context"] = {**own, "rates": {**gap["long_context"]["rates"], **own["rates"]}}


def _fill_units(row: Row, entry: Row, session_usd: str, *, searches_always: bool) -> None:
    units = row.setdefault("per_unit_usd", {})
    if "audio_minute_usd" in entry:
        units.setdefault("audio_minutes", entry["audio_minute_usd"])
    if "search_usd" in entry:
        if searches_always:
            row["per_request_usd"] = entry["search_usd"]
        elif units.setdefault("web_searches", entry["search_usd"]) != entry["search_usd"]:
            units["web_search_previews"] = entry["search_usd"]
    if "file_searches" in units:
        units["code_interpreter_sessions"] = session_usd


def _rows_with_tool_fees(pattern: str, rows: list[Row], session_usd: str) -> Iterator[Row]:
    """Yield the newest of *rows* of each tier once more, from TOOL_FEES_SINCE on, where it lacks fees of tools.

    One that is newer than that gets them itself.
    """
    if WITHOUT_TOOLS.match(pattern):
        return
    fees = {**TOOL_FEES, "code_interpreter_sessions": session_usd}
    if NOT_REASONING.match(pattern):
        fees["web_search_previews"] = PREVIEW_FEE
    for row in {row["service_tier"]: row for row in rows}.values():
        if "output" not in row["rates"] or not MEDIA.isdisjoint(row["rates"]) or row.get("per_request_usd"):
            continue
        if fees.keys() <= row["per_unit_usd"].keys():
            continue
        units = {**fees, **row["per_unit_usd"]}
        if row["valid_from"] >= TOOL_FEES_SINCE:
            row["per_unit_usd"] = units
        else:
            yield {**deepcopy(row), "valid_from": TOOL_FEES_SINCE, "per_unit_usd": units}


def _rows_with_lifetimes(pattern: str, rows: list[Row], models: Mapping[str, Row]) -> Iterator[Row]:
    """Yield the newest of *rows* of each tier once more, from LIFETIMES_SINCE on, where it has no `cache_write_12h`."""
    entry = _entry(pattern.removesuffix("-20*"), models) if pattern.endswith("-20*") else {}
    for row in {row["service_tier"]: row for row in rows}.values():
        filled = {**deepcopy(row), "valid_from": LIFETIMES_SINCE}
        _fill_rates(filled, entry.get(row["service_tier"], {}))
        if filled["rates"].keys() - row["rates"].keys() == {"cache_write_12h"}:
            yield _ordered(filled)


def _ordered(row: Row) -> Row:
    row["rates"] = {name: row["rates"][name] for name in MILLION_DIMENSIONS if name in row["rates"]}
    row["per_unit_usd"] = {name: row["per_unit_usd"][name] for name in UNIT_DIMENSIONS if name in row["per_unit_usd"]}
    if row.get("long_context"):
        long_rates = row["long_context"]["rates"]
        row["long_context"]["rates"] = {name: long_rates[name] for name in MILLION_DIMENSIONS if name in long_rates}
    return {name: row[name] for name in FIELDS if row.get(name) or name == "rates"}


def _dall_e_rows() -> Iterator[Row]:
    """Yield the dearest image of each model under its own name, which ceilings count with, and each other one."""
    for model, images in DALL_E.items():
        dearest = max(images.values(), key=Decimal)
        for name, usd in {model: dearest, **{f"{model}/{image}": usd for image, usd in images.items()}}.items():
            yield _image_row(name, usd, "openai")


def _image_row(model: str, usd: str, source: str) -> Row:
    units = {"images": usd_text(Decimal(usd))}
    row = {"model": model, "service_tier": "default", "valid_from": UNDATED.isoformat()}
    return {**row, "rates": {}, "per_unit_usd": units, "source": source}


def _simulator_rows() -> Iterator[Row]:
    """Yield the prices of the models that `app/simulator` answers for, batches at half the price."""
    yield _image_row("sim-dall-e", "0.04", "simulator")
    sounds: dict[str, dict[str, Any]] = {
        "sim-tts*": {"rates": {"characters": "15.00"}},
        "sim-whisper*": {"rates": {}, "per_unit_usd": {"audio_minutes": "0.006"}},
    }
    for pattern, prices_of_sound in sounds.items():
        head = {"model": pattern, "service_tier": "default", "valid_from": UNDATED.isoformat()}
        yield {**head, **prices_of_sound, "source": "simulator"}
    prices = {"sim-*": {"input": "1", "cached_input": "0.1", "output": "4"}, "sim-embedding*": {"input": "0.02"}}
    for pattern, rates in prices.items():
        for tier, factor in (("default", Decimal(1)), ("batch", Decimal("0.5"))):
            yield {
                "model": pattern,
                "service_tier": tier,
                "valid_from": UNDATED.isoformat(),
                "rates": {name: usd_text(Decimal(usd) * factor) for name, usd in rates.items()},
                "context_tokens_max": 128_000,
                "output_tokens_max": 16_384,
                "source": "simulator",
            }


def _order(row: Row) -> tuple[str, int, str]:
    return (row["model"], SERVICE_TIERS.index(row["service_tier"]), row["valid_from"])


def main() -> None:
    """Write the price file, and print what changed and what the sources say that it leaves out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litellm", type=Path, metavar="FILE", help="model_prices_and_context_window_backup.json")
    parser.add_argument("--litellm-version", default="unknown", help="the version that FILE is from")
    options = parser.parse_args()
    if options.litellm:
        litellm = json.loads(options.litellm.read_bytes(), parse_float=Decimal, parse_int=Decimal)
        GAPS.write_text(text_of(gaps_from(litellm, options.litellm_version)))
    before: dict[str, Any] = json.loads(PRICES.read_bytes()) if PRICES.exists() else {"version": "", "prices": []}
    document, left_out = build(json.loads(GAPS.read_bytes()), before["version"])
    if document != before:
        document["version"] = utc_now().date().isoformat()
        PRICES.write_text(text_of(document))
    print(f"{PRICES.relative_to(ROOT)}, version {document['version']}: {len(document['prices'])} prices of", end=" ")
    print(f"{len({row['model'] for row in document['prices']})} names, {len(before['prices'])} prices before")
    for line in sorted(set(left_out)):
        print(f"  left out: {line}")


if __name__ == "__main__":
    main()
