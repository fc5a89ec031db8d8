"""Nothing that is committed opens anything: no minted key, no provider's key, no private key, no signed token."""

import re
from collections.abc import Iterator
from typing import Final

import pytest

from app.keys.tokens import is_plausible, mint
from tests.architecture.test_committed_text import committed

# What tests plant has no checksum, few kinds of characters, or nothing behind its first line.
MINTED: Final = re.compile(r"(?<![A-Za-z0-9])(?:wk|wa)-[0-9A-Za-z]{61}(?![0-9A-Za-z])")
PROVIDERS: Final = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{32,}")
SURE: Final = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{100}"),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    "a cloud's access key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a token of a code host": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})"),
}


def secrets_in(path: str, text: str) -> Iterator[str]:
    """Yield a line for each place in *text* that looks like a secret that works; never the secret."""
    found = [(match.start(), name) for name, pattern in SURE.items() for match in pattern.finditer(text)]
    found += [(match.start(), "a key of Weir") for match in MINTED.finditer(text) if is_plausible(match[0])]
    found += [(match.start(), "a provider's key") for match in PROVIDERS.finditer(text) if is_random(match[0])]
    for start, name in found:
        yield f"{path}:{text.count(chr(10), 0, start) + 1}: {name}; revoke it, and take it out of the history"


def is_random(key: str) -> bool:
    return "T3BlbkFJ" in key or all(re.search(kind, key[3:]) for kind in ("[A-Z]", "[a-z]", "[0-9]"))


def test_no_secret_is_committed() -> None:
    found = [line for path, text in committed() for line in secrets_in(path, text)]
    assert not found, "\n".join(found)


PLANTED: Final = {
    "API key": mint("api"),
    "admin key": mint("admin"),
    "project key": "sk-" + "proj-Ab1" * 8,
    "old key": "sk-" + "a" * 20 + "T3BlbkFJ" + "b" * 20,
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 8,
    "token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJvd25lciJ9." + "c2lnbmF0dXJlLXNpZ25hdHVyZQ",
    "cloud": "AKIA" + "ABCDEFGH12345678",
    "code host": "ghp_" + "a1" * 18,
}
HARMLESS: Final = {
    "broken checksum": PLANTED["API key"][:-1] + ("0" if PLANTED["API key"][-1] != "0" else "1"),
    "zeros": "wk-" + "0" * 61,
    "words": "sk-upstream-secret-that-must-never-be-seen-0123456789",
    "first line": "-----BEGIN " + "PRIVATE KEY-----",
    "digest": "sha256-" + "Ab1" * 12,
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("line", ["{}", 'KEY = "{}"', "key={};", "Bearer {}\r"])
def test_a_planted_secret_is_seen_and_not_repeated(name: str, line: str) -> None:
    (told,) = secrets_in("app/x.py", f"first\n{line.format(PLANTED[name])}\n")
    assert told.startswith("app/x.py:2: ")
    assert PLANTED[name] not in told


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_looks_like_one_is_let_be(name: str) -> None:
    assert not list(secrets_in("app/x.py", HARMLESS[name]))
