"""PyTorch's files are read as PyTorch reads them, and nothing of them is executed."""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from keras_univrep.conversion import read_torch_checkpoint

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


def test_a_tensor_outside_its_storage_is_refused(files, tmp_path) -> None:
    class Outside:
        def __init__(self, offset, shape, strides) -> None:
            self.place = offset, shape, strides

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", Storage, "0", "cpu", 4) if value == "the storage" else None

        def reducer_override(self, value):
            if isinstance(value, Outside):
                return Rebuild, ("the storage", *value.place, False, None)
            return NotImplemented

    def Storage() -> None: ...

    def Rebuild() -> None: ...

    for function, module, name in (
        (Storage, "torch", "FloatStorage"),
        (Rebuild, "torch._utils", "_rebuild_tensor_v2"),
    ):
        function.__module__, function.__qualname__, function.__name__ = module, name, name
    import io

    numbers = (4).to_bytes(8, "little") + np.arange(4, dtype="float32").tobytes()
    torch = pytest.importorskip("torch")
    hidden = torch.FloatStorage, torch._utils._rebuild_tensor_v2
    torch.FloatStorage, torch._utils._rebuild_tensor_v2 = Storage, Rebuild
    try:
        written = {}
        for place in [(0, (2, 2), (2, 1)), (1, (2, 2), (2, 1)), (0, (2,), (-1,)), (-1, (1,), (1,))]:
            stream = io.BytesIO()
            for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
                pickle.dump(part, stream, protocol=2)
            Pickler(stream, protocol=2).dump({"w": Outside(*place)})
            pickle.dump(["0"], stream, protocol=2)
            written[place] = stream.getvalue() + numbers
    finally:
        torch.FloatStorage, torch._utils._rebuild_tensor_v2 = hidden
    for place, content in written.items():
        path = tmp_path / "outside.pth"
        path.write_bytes(content)
        if place[0] == 0 and min(place[2]) > 0:
            assert read_torch_checkpoint(path)["w"].tolist() == [[0.0, 1.0], [2.0, 3.0]]
            continue
        with pytest.raises(ValueError, match="lies outside its 4 numbers"):
            read_torch_checkpoint(path)
