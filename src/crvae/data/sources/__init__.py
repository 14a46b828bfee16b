"""Where images come from, one module a kind of source. Those without a fixed name are asked in this order."""

from crvae.data.sources import hub, archive, table_files, folder  # isort: skip
from crvae.data.sources import avatars, birds, celeba, digits, emoji, lsun

__all__ = ["archive", "avatars", "birds", "celeba", "digits", "emoji", "folder", "hub", "lsun", "table_files"]
