"""What must hold on a GPU. Each test also runs on the CPU where it can, so that it is known to be sound: `make gpu`."""

import pytest
import torch

from headstart.support.devices import pick_device


def pytest_collection_modifyitems(items):
    """Without a GPU its tests are left out."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return pick_device(request.param)
