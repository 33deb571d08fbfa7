"""PyTorch's files are read as PyTorch reads them, and nothing of them is executed."""

import io
import operator
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.conversion import _torch_pickle, read_torch_checkpoint

# Written by PyTorch itself, in a process of its own: this one may run on another backend.
WRITER = """
import collections, sys, types
import numpy as np, torch
folder = sys.argv[1]
models = types.ModuleType("models")
sys.modules["models"] = models
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.branches = torch.nn.ModuleList([torch.nn.Linear(4, 2) for _ in range(2)])
Net.__module__ = "models"
models.Net = Net
torch.manual_seed(0)
net = Net()
wide = torch.arange(24.0).reshape(4, 6)
extra = {
    "double": torch.arange(3, dtype=torch.float64), "half": torch.ones(2, dtype=torch.float16),
    "flags": torch.tensor([True, False]), "turned": wide.t(), "part": wide[1:3, ::2],
    "none": torch.zeros(0, 3), "scalar": torch.tensor(7),
}
state = {"net": net.state_dict(), "extra": extra, "epoch": 3, "name": "x",
         "parallel": torch.nn.DataParallel(net).state_dict()}
expected = {f"net.{k}": v for k, v in net.state_dict().items()}
expected |= {f"extra.{k}": v for k, v in extra.items()}
expected |= {f"parallel.{k}": v for k, v in net.state_dict().items()}
np.savez(f"{folder}/expected.npz", **{k: v.numpy() for k, v in expected.items()})
np.savez(f"{folder}/network.npz", **{k: v.numpy() for k, v in net.state_dict().items()})
for kind in (True, False):
    torch.save(state, f"{folder}/state_{kind}.pth", _use_new_zipfile_serialization=kind)
    torch.save(net, f"{folder}/network_{kind}.pth", _use_new_zipfile_serialization=kind)
    torch.save({"net": torch.nn.DataParallel(net)}, f"{folder}/wrapped_{kind}.pth",
               _use_new_zipfile_serialization=kind)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("torch")
    process = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return folder


def same(found: dict[str, np.ndarray], path: pathlib.Path, prefix: str = "") -> None:
    with np.load(path) as expected:
        assert set(found) == {prefix + name for name in expected.files}
        for name in expected.files:
            np.testing.assert_array_equal(found[prefix + name], expected[name], strict=True)


@pytest.mark.parametrize("kind", [True, False])
def test_tensors_are_those_that_were_saved(files, kind) -> None:
    same(read_torch_checkpoint(files / f"state_{kind}.pth"), files / "expected.npz")
    same(read_torch_checkpoint(files / f"network_{kind}.pth"), files / "network.npz")
    same(read_torch_checkpoint(files / f"wrapped_{kind}.pth"), files / "network.npz", "net.")


@pytest.mark.parametrize("kind", [True, False])
def test_classes_of_other_modules_are_refused(files, kind) -> None:
    with pytest.raises(ValueError, match="models.Net, which is not known to be harmless"):
        read_torch_checkpoint(files / f"network_{kind}.pth", modules=())


class Harmful:
    """Runs a command where it is unpickled."""

    def __init__(self, call, *arguments) -> None:
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("where", ["first", "object"])
def test_a_malicious_pickle_is_refused_before_it_does_anything(tmp_path, where) -> None:
    mark, path = tmp_path / "executed", tmp_path / "malicious.pth"
    for harmful in (
        Harmful(os.system, f"touch {mark}"),
        Harmful(eval, f"open({str(mark)!r}, 'w')"),
        Harmful(getattr, "text", "upper"),
        Harmful(np.load, str(mark)),
    ):
        parts = [harmful] if where == "first" else [0x1950A86A20F9469CFC6C, 1001, {}, harmful]
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
        with pytest.raises(ValueError, match="not known to be harmless"):
            read_torch_checkpoint(path)
        assert not mark.exists()


def test_truncated_and_foreign_files_are_refused(files, tmp_path) -> None:
    for kind in (True, False):
        whole = (files / f"state_{kind}.pth").read_bytes()
        for size in (0, 10, len(whole) // 2, len(whole) - 40):
            path = tmp_path / "cut.pth"
            path.write_bytes(whole[:size])
            with pytest.raises(ValueError, match="must be a file of PyTorch's"):
                read_torch_checkpoint(path)
    for value in ({"weights": 1.0}, [1, 2, 3]):
        path = tmp_path / "other.pth"
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(ValueError, match="must be a file of PyTorch's"):
            read_torch_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        read_torch_checkpoint(tmp_path / "missing.pth")


def stream(body: bytes, size: int = 0) -> bytes:
    """A file of the form before PyTorch 1.6: a pickle, and a storage "0" of 0, 1, 2, ..."""
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    written = b"".join(pickle.dumps(part, protocol=2) for part in parts) + body
    if not size:
        return written + pickle.dumps([], protocol=2)
    numbers = np.arange(size, dtype="<f4").tobytes()
    return written + pickle.dumps(["0"], protocol=2) + size.to_bytes(8, "little") + numbers


def put(value: Any) -> bytes:
    """The operations that put a value on a pickle's stack."""
    return pickle.dumps(value, protocol=2)[2:-1]


def storage(size: Any = 4) -> bytes:
    """The operations that name the storage "0"."""
    kind = put("storage") + b"ctorch\nFloatStorage\n"
    return b"(" + kind + put("0") + put("cpu") + put(size) + b"NtQ"


def tensor(offset: Any, shape: Any, strides: Any, size: Any = 4) -> bytes:
    """The operations that build a tensor of the storage "0"."""
    place = put(offset) + put(shape) + put(strides)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(size) + place + b"\x89NtR"


def refusal(path: pathlib.Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a file of PyTorch's") as caught:
        read_torch_checkpoint(path)
    return str(caught.value)


INSIDE = [
    ((0, (2, 2), (2, 1)), [[0.0, 1.0], [2.0, 3.0]]),
    ((1, (3,), (1,)), [1.0, 2.0, 3.0]),
    ((0, (2, 2), (1, 2)), [[0.0, 2.0], [1.0, 3.0]]),
    ((3, (), ()), 3.0),
    ((4, (0, 3), (3, 1)), []),
]
OUTSIDE = [
    (1, (2, 2), (2, 1)), (0, (2,), (-1,)), (-1, (1,), (1,)), (-1, (3,), (1,)),
    (-1000, (1001,), (1,)), (4, (), ()), (0, (-1,), (1,)), (-1, (0,), (1,)), (3, (2,), (-3,)),
    (0, (2**62, 2), (0, 1)), (0, (5,), (0,)), (0, (2,), (2**62,)), (0, (2,), (1, 1)),
    (0.0, (1,), (1,)), (0, (1.0,), (1,)), (0, (1,), ("1",)), (True, (1,), (1,)),
]  # fmt: skip


@pytest.mark.parametrize("place, expected", INSIDE)
def test_a_tensor_inside_its_storage_is_read(tmp_path, place, expected) -> None:
    path = tmp_path / "inside.pth"
    path.write_bytes(stream(b"\x80\x02}" + put("w") + tensor(*place) + b"s.", 4))
    assert read_torch_checkpoint(path)["w"].tolist() == expected


@pytest.mark.parametrize("place", OUTSIDE)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, place) -> None:
    content = stream(b"\x80\x02}" + put("w") + tensor(*place) + b"s.", 4)
    assert "lies outside its 4 numbers" in refusal(tmp_path / "outside.pth", content)


@pytest.mark.parametrize("size", [-1, 5, 4.0, "4", True])
def test_a_storage_of_another_size_is_refused(tmp_path, size) -> None:
    content = stream(b"\x80\x02}" + put("w") + tensor(0, (1,), (1,), size) + b"s.", 4)
    refusal(tmp_path / "outside.pth", content)


def test_what_passes_itself_off_as_a_storage_is_refused(tmp_path) -> None:
    dtype = b"cmodels\nDtype\n)\x81" + put({"itemsize": 4}) + b"b"
    attributes = b"}(" + put("values") + put("text") + put("size") + put(10**6)
    forged = b"cmodels\nStorage\n)\x81" + attributes + put("dtype") + dtype + b"ub"
    view = b"ctorch._utils\n_rebuild_tensor_v2\n(" + forged + put(0) + put((1,)) + put((1,))
    content = stream(b"\x80\x02}" + put("w") + view + b"\x89NtRs.")
    assert "without a storage" in refusal(tmp_path / "forged.pth", content)


# What a pickle can name and what it can make, and what must not be changed about it.
TARGETS = {
    "function": (b"ctorch._utils\n_rebuild_tensor_v2\n", "_rebuild_tensor"),
    "nothing": (b"ctorch\ndevice\n", "_nothing"),
    "class": (b"cmodels\nNet\n", "_Inert"),
    "type": (b"cnumpy\ndtype\n", "np.dtype"),
    "dictionary": (b"ccollections\nOrderedDict\n", "collections.OrderedDict"),
    "tensor": (tensor(0, (1,), (1,)), None),
    "storage": (storage(), None),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("form", ["attributes", "slots"])
def test_nothing_but_a_stand_in_gets_attributes(tmp_path, kind, form) -> None:
    target, name = TARGETS[kind]
    module = _torch_pickle
    before = None if name is None else dict(vars(operator.attrgetter(name)(module)))
    named = None if name is None else operator.attrgetter(name)(module).__name__
    for attribute in ("__name__", "values", "array", "offset"):
        state = put({attribute: "changed"})
        state = state if form == "attributes" else b"N" + state + b"\x86"
        content = stream(b"\x80\x02" + target + state + b"b.", 4)
        assert "sets attributes" in refusal(tmp_path / "set.pth", content)
    if name is not None:
        assert dict(vars(operator.attrgetter(name)(module))) == before
        assert operator.attrgetter(name)(module).__name__ == named


def test_attributes_of_a_dictionary_are_no_part_of_it(tmp_path) -> None:
    made = b"ccollections\nOrderedDict\n)R" + put("w") + tensor(0, (1,), (1,)) + b"s"
    for attribute in ("items", "_metadata"):
        content = stream(b"\x80\x02" + made + put({attribute: {"v": 1}}) + b"b.", 4)
        (tmp_path / "set.pth").write_bytes(content)
        assert read_torch_checkpoint(tmp_path / "set.pth")["w"].tolist() == [0.0]


def nested(depth: int) -> dict:
    found: dict = {}
    for _ in range(depth):
        found = {"a": found}
    return found


def doubled(times: int) -> bytes:
    """Dictionaries that each hold the one before twice."""
    return b"}" + b"".join(
        b"q" + bytes([n]) + b"}(U\x01ah" + bytes([n]) + b"U\x01bh" + bytes([n]) + b"u"
        for n in range(times)
    )


ENDLESS = {
    "itself": b"}q\x00U\x01ah\x00s",
    "itself without a name": b"}q\x00U\x00h\x00s",
    "deep": put(nested(200)),
    "doubled": doubled(60),
    "a name that is nested": b"}" + b")" + 3000 * b"\x85" + put("a") + b"s",
    "bytes of much memory": b"\x96" + (2**36).to_bytes(8, "little"),
    "an extension": b"\x82\x01",
    "a storage that is none": b"NQ",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused(tmp_path, kind) -> None:
    content = stream(b"\x80\x02" + ENDLESS[kind] + b".")
    assert len(refusal(tmp_path / "endless.pth", content)) < 1000


def test_a_number_in_a_file_takes_no_memory(tmp_path) -> None:
    # The place of a dictionary, which an array of places would have to reach.
    (tmp_path / "far.pth").write_bytes(stream(b"\x80\x02}r\xff\xff\xff\x7f."))
    assert read_torch_checkpoint(tmp_path / "far.pth") == {}


@pytest.mark.parametrize("kind", ["compressed", "broken", "encrypted", "unknown method"])
def test_a_zip_that_pytorch_does_not_write_is_refused(tmp_path, kind) -> None:
    method = zipfile.ZIP_DEFLATED if kind in ("compressed", "broken") else zipfile.ZIP_STORED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"x": "y" * 500}, protocol=2))
    content = bytearray(file.getvalue())
    listed = content.find(b"PK\x01\x02")
    if kind == "broken":
        content[45:60] = bytes(byte ^ 0xFF for byte in content[45:60])
    if kind == "encrypted":
        content[6] |= 1
        content[listed + 8] |= 1
    if kind == "unknown method":
        content[8] = content[listed + 10] = 99
    message = refusal(tmp_path / "zip.pth", bytes(content))
    assert "compressed or encrypted" in message


@pytest.mark.parametrize("kind", [True, False])
@pytest.mark.parametrize("file", ["state", "network"])
def test_files_with_changed_bytes_are_read_or_refused(files, tmp_path, file, kind) -> None:
    whole = (files / f"{file}_{kind}.pth").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(0, len(content), rng.integers(1, 4))
        content[places] = rng.integers(0, 256, len(places))
        path = tmp_path / "changed.pth"
        path.write_bytes(content.tobytes())
        try:
            read_torch_checkpoint(path)
        except ValueError as error:
            assert "must be a file of PyTorch's" in str(error)
            refused += 1
    assert refused > 30
