"""What a device can do is tried on the device, and said in words where it cannot."""

import pytest
import torch

from headstart.errors import BackboneError, SettingsError
from headstart.models import precision
from headstart.models.fast import naming
from headstart.models.precision import compiler_fault, fitting_batch_size, require_compiler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def trials(monkeypatch):
    """Plays what torch.compile meets on a GPU, an error or None; gives how often it was tried."""
    precision._fault_of_triton.cache_clear()

    def meeting(error):
        tried = []

        def compiled(function, **options):
            tried.append(function)

            def kernel(values):
                if error:
                    raise error
                return function(values)

            return kernel

        monkeypatch.setattr(torch, "compile", compiled)
        monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.zeros(shape) + 1)
        return tried

    yield meeting
    precision._fault_of_triton.cache_clear()


def test_without_a_c_compiler_or_its_headers_a_gpu_does_not_compile_and_it_is_tried_once(trials, monkeypatch):
    monkeypatch.setattr(precision.shutil, "which", lambda name: f"/usr/bin/{name}")  # a C++ compiler says nothing
    tried = trials(RuntimeError("Failed to find C compiler. Please specify via CC environment variable."))
    assert "cannot make a small kernel for the GPU (RuntimeError: Failed to find C compiler" in compiler_fault(CUDA)
    with pytest.raises(SettingsError, match=r"Failed to find C compiler.*: mend that, or use --compile off\.$"):
        require_compiler(CUDA)
    assert len(tried) == 1
    assert not compiler_fault(CPU)


def test_where_a_small_kernel_runs_a_gpu_compiles_without_a_cpp_compiler(trials, monkeypatch):
    monkeypatch.setattr(precision.shutil, "which", lambda name: None)
    assert len(trials(None)) == 0
    assert compiler_fault(CUDA) == ""
    require_compiler(CUDA)
    assert "C++ compiler" in compiler_fault(CPU)
    assert compiler_fault(torch.device("mps")) == ""


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", FULL, ids=["torch", "driver", "cuBLAS", "cuDNN"])
def test_whatever_says_that_the_memory_is_full_halves_the_batch_also_where_the_net_goes_there_first(error):
    def forward(pixels):
        if len(pixels) > 8:
            raise error
        return pixels

    assert fitting_batch_size(naming("net")(forward), 32, 4, CPU) == 8


def test_other_errors_of_a_net_halve_nothing():
    def forward(pixels):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(BackboneError, match="shapes do not fit"):
        fitting_batch_size(naming("net")(forward), 32, 4, CPU)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        fitting_batch_size(forward, 32, 4, CPU)
