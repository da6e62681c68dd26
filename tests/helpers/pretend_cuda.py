"""A stand-in for CUDA: tensors that say they are on cuda:0, hold CPU values, and refuse to mix devices as CUDA does.

    with pretend_cuda.cuda() as counts:      # autograd=True for training; apple=True refuses float64, as MPS does
        features = net(pixels.to("cuda"))
    assert not counts.host_waits

It counts kernels and what makes the host wait for the device. It has one GPU and one stream, and computes at once: how
long something takes, and what is read before a copy has ended, it cannot show.
"""

import collections
import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

CUDA, MPS, CPU = torch.device("cuda", 0), torch.device("mps", 0), torch.device("cpu")
aten = torch.ops.aten

INDEXING = {
    *(aten.index.Tensor, aten.index_put.default, aten.index_put_.default),
    *(aten._index_put_impl_.default, aten._unsafe_index.Tensor),
}
"""These take indices from the CPU, too, and copy them."""
VIEWS = {
    *(aten.alias.default, aten.as_strided.default, aten.detach.default, aten.diagonal.default, aten.expand.default),
    *(aten.lift_fresh.default, aten.permute.default, aten.select.int, aten.slice.Tensor, aten.split.Tensor),
    *(aten.split_with_sizes.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.t.default),
    *(aten.transpose.int, aten.unbind.int, aten.unsqueeze.default, aten.view.default, aten._reshape_alias.default),
    aten._unsafe_view.default,
}
"""These launch no kernel."""
WAITING = {
    *(aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.is_nonzero.default),
    *(aten.equal.default, aten._unique2.default, aten._linalg_eigh.default, aten._linalg_check_errors.default),
}
"""The host needs what these find. The first is `.item()` and `float(…)`."""


@dataclass
class Counts:
    """What has been launched and waited for, by the names of torch's operations or in a word."""

    kernels: collections.Counter[str] = field(default_factory=collections.Counter)
    """Kernels, and copies that run beside the host."""
    host_waits: collections.Counter[str] = field(default_factory=collections.Counter)

    def clear(self) -> None:
        """Begins anew, such as after a warm-up."""
        self.kernels.clear()
        self.host_waits.clear()


@dataclass
class _Device:
    """The device while it is pretended."""

    counts: Counts = field(default_factory=Counts)
    autograd: bool = False
    apple: bool = False
    pinned: list[torch.Tensor] = field(default_factory=list)
    """Kept alive, so that no other tensor takes their memory."""


_device = _Device()
_thread = threading.local()
"""`leaving`: the copy that comes next was asked for by the program; with autograd, torch itself asks for others."""


class Pretend(torch.Tensor):
    """A tensor that says it is on cuda:0; `held` is the tensor on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Pretend":
        """Autograd runs backward in the thread of a device that exists: for it, the tensor is one of the CPU."""
        if _device.apple and held.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        if _device.autograd:
            layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "layout": held.layout}
            made = torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=CPU, **layout)
        else:
            with _disable_current_modes():
                meta = torch.empty_strided(held.size(), held.stride(), dtype=held.dtype, device="meta")
                made = torch.Tensor._make_subclass(cls, meta, False, dispatch_device=True, device_for_backend_keys=CUDA)
        made.held = held
        return made

    device = property(lambda self: MPS if _device.apple else CUDA)
    is_cuda = property(lambda self: not _device.apple)
    is_cpu = property(lambda self: False)

    def __repr__(self) -> str:
        return f"Pretend({self.held!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        made = Pretend(self.held.detach().clone())
        memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if isinstance(self, torch.nn.Parameter) else made
        return memo[id(self)]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            own = _METHODS.get(func) if args and isinstance(args[0], Pretend) else None
            return own(*args, **kwargs) if own else func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Sees what makes tensors on the device out of nothing, or out of the CPU's."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _is_pretended(device: Any) -> bool:
    """CUDA also where Apple's is pretended: torch's own code in C++ sees that."""
    return torch.device(device).type in ("cuda", "mps")


def _to(tensor: Pretend, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`Tensor.to`, with a device, a type, both, or another tensor that has them."""
    device, rest = kwargs.pop("device", None), list(args)
    for given in args:
        if isinstance(given, str | torch.device):
            device = given
            rest.remove(given)
        elif isinstance(given, torch.Tensor):
            device, rest = given.device, [given.dtype]
    if device is not None and torch.device(device).type == "cpu":
        dtype = next((given for given in rest if isinstance(given, torch.dtype)), kwargs.get("dtype"))
        return _to_cpu(tensor, bool(kwargs.get("non_blocking")), dtype)
    return torch.Tensor.to(tensor, *rest, **kwargs) if rest or kwargs else tensor


def _to_cpu(tensor: Pretend, non_blocking: bool = False, dtype: torch.dtype | None = None) -> torch.Tensor:
    _thread.leaving = True
    return aten._to_copy.default(tensor, device=CPU, non_blocking=non_blocking, **({"dtype": dtype} if dtype else {}))


def _to_numpy(tensor: Pretend) -> None:
    raise TypeError(
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    )


def _to_list(tensor: Pretend) -> list[Any]:
    _device.counts.host_waits["tolist"] += 1
    return tensor.held.tolist()


def _new_tensor(tensor: Pretend, data: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Pretend:
    _device.counts.host_waits["new_tensor"] += 1
    return Pretend(torch.tensor(data, dtype=dtype or tensor.dtype))


_METHODS = {
    torch.Tensor.__deepcopy__: Pretend.__deepcopy__,
    torch.Tensor.cpu: _to_cpu,
    torch.Tensor.to: _to,
    torch.Tensor.numpy: _to_numpy,
    torch.Tensor.tolist: _to_list,
    torch.Tensor.new_tensor: _new_tensor,
}
"""What torch does below the operations that can be watched."""


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Any operation of torch."""
    if func is torch.ops.prim.device.default:
        return CUDA
    if func in (aten.sym_size.default, aten.sym_stride.default):
        return NotImplemented
    if func is aten._to_copy.default:
        return _copied(args, kwargs)
    if func is aten._pin_memory.default:
        return _pinned(args[0].clone())
    ours = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Pretend)]
    others = [
        value
        for value in tree_leaves((args, kwargs))
        if isinstance(value, torch.Tensor) and not isinstance(value, Pretend)
    ]
    if func is aten.copy_.default and ours and others:
        _count_copy(others[0], non_blocking=len(args) > 2 and args[2])
    else:
        _refuse_mixed(func, args, ours, others)
    if ours:
        _count_waits(func, args)
    return _computed(func, args, kwargs, ours)


def _copied(args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    """A copy in another type, or on the other device."""
    source, device = args[0], kwargs.get("device")
    from_device = isinstance(source, Pretend)
    if _device.autograd and from_device and not getattr(_thread, "leaving", False):
        device = None  # torch takes the tensor for one of the CPU
    _thread.leaving = False
    to_device = from_device if device is None else _is_pretended(device)
    kept = {name: value for name, value in kwargs.items() if name not in ("device", "non_blocking", "pin_memory")}
    made = aten._to_copy.default(_held(source), **kept)
    non_blocking = bool(kwargs.get("non_blocking"))
    if from_device and not to_device:
        _count_copy(_pinned(made) if non_blocking else made, non_blocking)  # torch pins what it allocates for this
    elif to_device and not from_device:
        _count_copy(source, non_blocking)
    elif to_device:
        _device.counts.kernels["aten._to_copy.default"] += 1
    return Pretend(made) if to_device else made


def _count_copy(on_cpu: torch.Tensor, non_blocking: bool) -> None:
    """A copy between the devices: the host waits, except for one from or to pinned memory that asks not to."""
    if non_blocking and is_pinned(on_cpu):
        _device.counts.kernels["copy"] += 1
    else:
        _device.counts.host_waits["pageable copy" if non_blocking else "copy"] += 1


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    _device.pinned.append(tensor)
    return tensor


def is_pinned(tensor: torch.Tensor) -> bool:
    """Whether the memory is a part of some that was pinned while CUDA was pretended."""
    if isinstance(tensor, Pretend):
        return False
    for whole in _device.pinned:
        storage = whole.untyped_storage()
        if 0 <= tensor.data_ptr() - storage.data_ptr() < max(1, storage.nbytes()):
            return True
    return False


def _refuse_mixed(func: Any, args: Any, ours: list[Pretend], others: list[torch.Tensor]) -> None:
    """Raises what CUDA raises where tensors of both devices meet; numbers and indices from the CPU are taken."""
    is_indexing = func in INDEXING
    indices = [index for index in args[1] if index is not None] if is_indexing else []
    if is_indexing and not isinstance(args[0], Pretend) and any(isinstance(index, Pretend) for index in indices):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    for other in others if ours else ():
        is_number = other.dim() == 0
        if is_indexing and any(other is index for index in indices):
            _device.counts.host_waits["index from the CPU"] += 1
        elif is_number and (is_indexing or torch.Tag.pointwise in func.tags):
            continue
        elif not (is_number and func in (aten.lerp_.Scalar, aten.fill_.Tensor)):
            shapes = [tuple(tensor.shape) for tensor in (*ours, *others)]
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda and cpu in {func}: {shapes}"
            )


def _count_waits(func: Any, args: Any) -> None:
    masks = func in INDEXING and any(getattr(index, "dtype", None) == torch.bool for index in args[1])
    if func in WAITING or masks:
        _device.counts.host_waits[str(func)] += 1


def _computed(func: Any, args: Any, kwargs: dict[str, Any], ours: list[Pretend]) -> Any:
    """What the CPU finds, on the device where it belongs."""
    device, inner = kwargs.get("device"), tree_map(_held, kwargs)
    on_device = _is_pretended(device) if device is not None else bool(ours)
    if device is not None and on_device:
        inner["device"] = CPU
    pinned = inner.pop("pin_memory", None)
    found = func(*tree_map(_held, args), **inner)
    if pinned and not on_device:
        return _pinned(found)
    if on_device and func not in VIEWS and func not in WAITING:
        _device.counts.kernels[str(func)] += 1
    same = {id(tensor.held): tensor for tensor in ours}  # operations in place hand their tensor back

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return same[id(value)] if id(value) in same else Pretend(value) if on_device else value

    return tree_map(wrapped, found)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Pretend) else value


class _Generator(torch.Generator):
    """Draws the CPU's numbers, and says that it is on the device it was made for."""

    def __new__(cls, device: Any = "cpu") -> "_Generator":
        made = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        pass

    def manual_seed(self, seed: int) -> "_Generator":
        super().manual_seed(seed)
        return self

    device = property(lambda self: self.place)


class _Event:
    """Happens when it is recorded."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.recorded, self.blocking = False, blocking

    def record(self, stream: Any = None) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded, "an event that was never recorded"
        _device.counts.host_waits["event"] += 1

    def query(self) -> bool:
        return self.recorded

    def wait(self, stream: Any = None) -> None:
        pass

    def elapsed_time(self, end: "_Event") -> float:
        assert self.recorded
        assert end.recorded
        return 1.0  # ms


def _synchronize(device: Any = None) -> None:
    _device.counts.host_waits["synchronize"] += 1


def _drawing(name: str) -> Any:
    """A function that draws, and refuses a generator of another device."""
    draw = getattr(torch, name)

    def checked(*args: Any, generator: Any = None, device: Any = None, **kwargs: Any) -> Any:
        if generator is not None:
            has, asked = getattr(generator, "place", CPU).type, torch.device(device or "cpu").type
            if has != asked:
                raise RuntimeError(f"Expected a '{asked}' device type for generator but found '{has}' ({name})")
        return draw(*args, generator=generator, device=device, **kwargs)

    return checked


_MEMORY = 2**34
_STREAM = SimpleNamespace(
    synchronize=_synchronize,
    wait_stream=lambda stream: None,
    wait_event=lambda event: None,
    record_event=lambda event=None: None,
)
_OF_TORCH_CUDA = {
    "_lazy_init": lambda: None,
    "current_device": lambda: 0,
    "current_stream": lambda device=None: _STREAM,
    "device_count": lambda: 1,
    "empty_cache": lambda: None,
    "Event": _Event,
    "get_device_capability": lambda device=None: (9, 0),
    "get_device_name": lambda device=None: "Pretend",
    "get_device_properties": lambda device=None: SimpleNamespace(name="Pretend", total_memory=_MEMORY),
    "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
    "is_available": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "max_memory_allocated": lambda device=None: 123,
    "mem_get_info": lambda device=None: (_MEMORY, _MEMORY),
    "set_device": lambda device: None,
    "set_rng_state": lambda state, device=None: None,
    "synchronize": _synchronize,
}


def _patches() -> Iterator[Any]:
    run = threading.Thread.run

    def run_with_the_device(thread: threading.Thread) -> None:
        with _Everywhere():
            run(thread)

    def enter(mode: Any) -> None:
        mode.without = torch.no_grad()
        mode.without.__enter__()

    yield from (mock.patch.object(torch.cuda, name, value) for name, value in _OF_TORCH_CUDA.items())
    yield from (mock.patch.object(torch, name, _drawing(name)) for name in ("rand", "randn", "randint", "randperm"))
    yield mock.patch.object(torch, "Generator", _Generator)
    yield mock.patch.object(threading.Thread, "run", run_with_the_device)
    yield mock.patch.object(torch.Tensor, "pin_memory", lambda tensor, *_: aten._pin_memory.default(tensor))
    yield mock.patch.object(torch.Tensor, "is_pinned", lambda tensor, *_: is_pinned(tensor))
    # Wrapped tensors cannot be those of inference mode, which functions may have entered as decorators.
    yield mock.patch.object(torch.inference_mode, "__enter__", enter)
    yield mock.patch.object(torch.inference_mode, "__exit__", lambda mode, *error: mode.without.__exit__(*error))


def _patches_of_apple() -> Iterator[Any]:
    move = torch.Tensor.to

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """A torch without MPS refuses that device before the operation can be watched."""
        *places, kept = [CUDA if _is_apple(value) else value for value in (*args, kwargs.get("device"))]
        return move(tensor, *places, **kwargs | ({"device": kept} if "device" in kwargs else {}))

    yield mock.patch.object(torch.Tensor, "to", to)
    yield mock.patch.object(torch.cuda, "is_available", return_value=False)
    yield mock.patch.object(torch.backends.mps, "is_available", functools.cache(lambda: True))


def _is_apple(value: Any) -> bool:
    return isinstance(value, str | torch.device) and torch.device(value).type == "mps"


@contextlib.contextmanager
def cuda(autograd: bool = False, apple: bool = False) -> Iterator[Counts]:
    """A block in which torch has one GPU; threads that start in it see it, too. Not for several processes.

    Args:
        autograd: tensors can be differentiated. Without it, torch's own code in C++ sees their device, too.
        apple: float64 is refused, as by Apple's MPS, and the device says that it is mps:0.
    """
    global _device
    torch._C._ensureCUDADeviceGuardSet()
    before, overwrites = _device, torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as entered:
        for patch in _patches():
            entered.enter_context(patch)
        for patch in _patches_of_apple() if apple else ():
            entered.enter_context(patch)
        _device = _Device(autograd=autograd, apple=apple)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            with _Everywhere():
                yield _device.counts
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
            _device = before


@contextlib.contextmanager
def resizing(monkeypatch: Any) -> Iterator[None]:
    """The stand-in has no kernels: the reference resizes the CPU's values, which it may wait for."""
    from headstart.images import feeding
    from headstart.models import resizing as by_device

    def resized(pictures: torch.Tensor, numbers: torch.Tensor, *how: Any) -> torch.Tensor:
        if not isinstance(pictures, Pretend):
            return by_device.resized(pictures, numbers, *how)
        with _disable_current_modes():
            found = by_device.resized(pictures.held, numbers.held, *how)
        return Pretend(found)

    monkeypatch.setattr(feeding, "resized", resized)
    feeding.can_resize.cache_clear()
    yield
    feeding.can_resize.cache_clear()
