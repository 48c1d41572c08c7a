from __future__ import annotations

import gc

import pytest

from boxwright._util.collecting import uncollected


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_as_before(on: bool) -> None:
    was_on = gc.isenabled()
    (gc.enable if on else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == on
        with pytest.raises(KeyError), uncollected():
            raise KeyError
        assert gc.isenabled() == on
    finally:
        (gc.enable if was_on else gc.disable)()
