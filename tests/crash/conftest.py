from __future__ import annotations

import pytest

from tests.crash.ledger import Ledger


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger")
