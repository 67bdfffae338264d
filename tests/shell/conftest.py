import pytest

from .sides import Side, make_side


@pytest.fixture
async def side() -> Side:
    return make_side()
