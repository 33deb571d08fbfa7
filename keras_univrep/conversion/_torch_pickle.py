"""Reads PyTorch's pickles as data: nothing of theirs is imported, called or executed."""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "BoolStorage": "?",
}
# More than any network has: dictionaries that hold themselves, or each other twice, have no end.
DEPTH, PARTS = 100, 1_000_000


class _Inert:
    """What stands for an object of a class that is not imported: its attributes alone."""

    attributes: dict[Any, Any]

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
        made = super().__new__(cls)
        made.attributes = {}
        return made


class _Storage:
    """The numbers of one or several tensors, known once all of the file is read."""

    def __init__(self, dtype: str, size: int) -> None:
        self.dtype, self.size = np.dtype(dtype), size
        self.values: np.ndarray | None = None


class _Tensor:
    """A view of a storage."""

    def __init__(
        self, storage: _Storage, offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]
    ) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        values, size = self.storage.values, self.storage.size
        if values is None or not _inside(self.offset, self.shape, self.strides, size):
            raise pickle.UnpicklingError(
                f"a tensor of shape {self.shape} lies outside its {size} numbers"
            )
        if 0 in self.shape:
            return np.zeros(self.shape, self.storage.dtype)
        step = self.storage.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, [s * step for s in self.strides]
        ).copy()


def _inside(offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...], size: int) -> bool:
    """Whether a view stays in a storage; NumPy would read whatever memory lies there."""
    if len(shape) != len(strides) or not all(map(_natural, (offset, *shape, *strides))):
        return False
    if 0 in shape:
        return True
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
    # One number as many of a tensor would fill the memory from a file of a few bytes.
    return last < size and math.prod(shape) <= size


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0


def _rebuild_tensor(storage: _Storage, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("it has a tensor without a storage")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: _Tensor, *_: Any) -> _Tensor:
    return data


def _nothing(*_: Any) -> None:
    return None


# All that a pickle may call.
_CALLABLE: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _nothing,
    ("torch.nn.backends.thnn", "_get_thnn_function_backend"): _nothing,
    ("numpy", "dtype"): _Inert,
    ("numpy.core.multiarray", "scalar"): _nothing,
    ("numpy._core.multiarray", "scalar"): _nothing,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}


# Extensions of a process, and numbers beside the file: PyTorch writes neither.
_UNKNOWN = (
    pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.BYTEARRAY8, pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
)  # fmt: skip


class _Reader(pickle._Unpickler):
    """Unpickles tensors, and modules of the named Python modules as inert objects.

    The compiled unpickler would set the attributes of whatever a pickle names, functions of this
    module among them, and keep as much memory as a single number in it says.
    """

    stack: list[Any]

    def __init__(self, file: BinaryIO, modules: tuple[str, ...]) -> None:
        super().__init__(file, encoding="latin1")
        self.modules = modules
        self.storages: dict[str, _Storage] = {}

    def build(self) -> None:
        """Gives the object on the stack its attributes."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Inert) and isinstance(state, dict):
            target.attributes |= state
        # A state dictionary has versions of layers as an attribute, a type has numbers.
        elif not isinstance(target, (_Inert, collections.OrderedDict)):
            raise pickle.UnpicklingError(f"it sets attributes of a {type(target).__name__}")

    dispatch = {
        **{
            code: do
            for code, do in pickle._Unpickler.dispatch.items()
            if bytes([code]) not in _UNKNOWN
        },
        pickle.BUILD[0]: build,  # type: ignore[dict-item]
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CALLABLE:
            return _CALLABLE[module, name]
        if module in ("torch", "torch.storage") and name in DTYPES:
            return DTYPES[name]
        if module.startswith("torch.nn.modules.") or module in (
            *self.modules,
            "torch.nn.parallel.data_parallel",
        ):
            return _Inert
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not known to be harmless")

    def persistent_load(self, pid: Any) -> Any:
        kind = pid[0]
        if kind == "module":
            return pid[1]
        if kind != "storage" or not isinstance(pid[1], str):
            raise pickle.UnpicklingError(f"it holds a {kind!r} that is not known")
        _, dtype, key, _, size, *rest = pid
        if rest and rest[0] is not None:
            raise pickle.UnpicklingError("it holds views of storages, as before PyTorch 0.4")
        if dtype not in DTYPES.values() or not _natural(size):
            raise pickle.UnpicklingError(f"it holds {size!r} numbers of type {dtype!r}")
        return self.storages.setdefault(str(key), _Storage(dtype, size))


def read(path: Any, modules: tuple[str, ...]) -> Any:
    """What a file of `torch.save` holds, with `_Tensor` for tensors and `_Inert` for the rest."""
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            return _read_zip(file, modules)
        file.seek(0)
        return _read_stream(file, modules)


def _read_zip(file: BinaryIO, modules: tuple[str, ...]) -> Any:
    with zipfile.ZipFile(file) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if any(info.compress_type or info.flag_bits & 1 for info in infos.values()):
            # What is compressed may be larger than any memory.
            raise pickle.UnpicklingError("its zip is compressed or encrypted")
        pickled = next((n for n in infos if n.endswith("/data.pkl")), None)
        if pickled is None:
            raise pickle.UnpicklingError("its zip has no data.pkl")
        folder = pickled.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in infos and archive.read(order) != b"little":
            raise pickle.UnpicklingError("its numbers are big-endian")
        # Read as a whole, for the checksum is behind it.
        reader = _Reader(io.BytesIO(archive.read(pickled)), modules)
        found = reader.load()
        for key, storage in reader.storages.items():
            _fill(storage, archive.read(f"{folder}data/{key}"))
    return found


def _read_stream(file: BinaryIO, modules: tuple[str, ...]) -> Any:
    if (_Reader(file, ()).load(), _Reader(file, ()).load()) != (MAGIC, PROTOCOL):
        raise pickle.UnpicklingError("it is no file of torch.save")
    system = _Reader(file, ()).load()
    if not system.get("little_endian", True):
        raise pickle.UnpicklingError("its numbers are big-endian")
    reader = _Reader(file, modules)
    found = reader.load()
    for key in _Reader(file, ()).load():
        (size,) = struct.unpack("<q", file.read(8))
        storage = reader.storages[str(key)]
        if size != storage.size:
            raise pickle.UnpicklingError("it has another number of values than it announces")
        _fill(storage, file.read(size * storage.dtype.itemsize))
    return found


def _fill(storage: _Storage, content: bytes) -> None:
    if len(content) != storage.size * storage.dtype.itemsize:
        raise pickle.UnpicklingError("it is truncated")
    storage.values = np.frombuffer(content, storage.dtype)


def arrays(value: Any) -> dict[str, np.ndarray]:
    """The tensors of dictionaries and of modules, named as a state dictionary names them."""
    found: dict[str, np.ndarray] = {}
    waiting = [("", value, 0)]
    steps = 0
    while waiting:
        prefix, value, depth = waiting.pop()
        steps += 1
        if depth > DEPTH or steps > PARTS:
            raise pickle.UnpicklingError(
                f"it is nested more than {DEPTH} deep or has more than {PARTS} parts"
            )
        if isinstance(value, _Tensor):
            found[prefix] = value.array()
        if isinstance(value, _Inert):
            # A module whose parts are no dictionaries was not made by PyTorch.
            kinds = ("_parameters", "_buffers", "_modules")
            parts = [value.attributes.get(kind) or {} for kind in kinds]
            value = {name: part for kind in parts for name, part in kind.items()}
        if isinstance(value, dict):
            named = [(f"{prefix}.{n}" if prefix else str(n), part) for n, part in value.items()]
            waiting += [(name, part, depth + 1) for name, part in reversed(named)]
    return found
