"""What is sent to an upstream. Pure."""

from collections.abc import AsyncIterator

Body = bytes | AsyncIterator[bytes] | None
"""Whole, or in pieces that can be had once only, or nothing."""
