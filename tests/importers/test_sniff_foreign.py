"""Every published file is known by its bytes, and to one importer only."""

from __future__ import annotations

import pytest

from foreign.case import all_cases
from glia.importers.sniff import importer_for

CASES = list(all_cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}-{case.name}")
def test_one_importer_knows_the_files(case):
    assert importer_for(case.files).format == case.format
