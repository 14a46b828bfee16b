"""What the tests of Torch7 files write with."""

from __future__ import annotations

import pytest

from reference.lua import Lua, Networks, View, Writer, dump, table


@pytest.fixture
def lua():
    """What the tests write with: dump, table, Lua, View, Networks."""

    class Kit:
        pass

    kit = Kit()
    kit.dump, kit.table, kit.Lua, kit.View, kit.Writer, kit.Networks = dump, table, Lua, View, Writer, Networks
    return kit
