"""A whole server on loopback for every test that asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from server_harness import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from server_harness import Running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as run:
        yield run
