"""Why a file gives no image."""

from __future__ import annotations


class Unusable(Exception):
    """Why one file gives no image; the text completes the sentence "FILE ..."."""
