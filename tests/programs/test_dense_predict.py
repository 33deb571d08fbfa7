import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_univrep.applications import UniversalSegNet
from keras_univrep.programs import dense_predict


def test_each_task_of_a_saved_network_becomes_a_picture(tmp_path):
    network = UniversalSegNet(None, {"segmentation": 4, "depth": 1, "normals": 3}, width=0.0625)
    network.save(tmp_path / "network.keras")
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), "uint8")
    Image.fromarray(image).save(tmp_path / "room.png")
    pictures = dense_predict(
        str(tmp_path / "out"), str(tmp_path / "room.png"), str(tmp_path / "network.keras"), 32, 64
    )
    assert set(pictures) == {"room/segmentation", "room/depth", "room/normals"}
    seen = np.asarray(Image.open(tmp_path / "out" / "room" / "image.png"))
    outputs = network.predict_on_batch(seen[None].astype("float32") / 255.0)
    maps = np.load(tmp_path / "out" / "room" / "maps.npz")
    for task in ("segmentation", "depth", "normals"):
        np.testing.assert_allclose(maps[task], np.asarray(outputs[task][0]), atol=1e-5)
        assert np.asarray(Image.open(pictures[f"room/{task}"])).shape == (32, 64, 3)
    colours = np.asarray(Image.open(pictures["room/segmentation"])).reshape(-1, 3)
    classes = maps["segmentation"].argmax(-1).reshape(-1)
    # A colour each class, and a class each colour.
    pairs = {(int(c), tuple(map(int, rgb))) for c, rgb in zip(classes, colours, strict=True)}
    assert len(pairs) == len(set(classes.tolist())) == len({rgb for _, rgb in pairs})
    normals = np.asarray(Image.open(pictures["room/normals"])) / 127.5 - 1.0
    assert np.abs(normals - maps["normals"]).max() < 0.02
    row = json.loads((tmp_path / "out" / "results.json").read_text())["table"][0]
    assert row["depth_range"][0] == pytest.approx(float(maps["depth"].min()))


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "network.keras"
    UniversalSegNet(None, {"depth": 1}, width=0.0625).save(path)
    return str(path)


def test_images_of_one_name_in_several_folders_each_have_their_result(network, tmp_path):
    for number, name in enumerate(("a.png", "sub/a.png", "b.png", "b.bmp")):
        path = tmp_path / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (60 * number,) * 3).save(path)
    out = tmp_path / "out"
    pictures = dense_predict(str(out), str(tmp_path / "x"), network, 32, 32)
    assert set(pictures) == {"a/depth", "sub/a/depth", "b.png/depth", "b.bmp/depth"}
    for number, name in enumerate(("a", "sub/a", "b.png", "b.bmp")):
        assert np.asarray(Image.open(out / name / "image.png")).max() == 60 * number


@pytest.mark.parametrize("image", [None, ""])
def test_without_an_image_the_working_directory_is_not_taken(image, network, tmp_path, monkeypatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="`image` must be a folder of images"):
        dense_predict(str(tmp_path / "out"), image, network, 32, 32)


def test_what_is_no_dense_network_is_refused(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="network"):
        dense_predict(str(tmp_path), str(tmp_path / "a.png"))
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    arguments = (str(tmp_path), str(tmp_path / "a.png"), str(tmp_path / "other.keras"))
    with pytest.raises(ValueError, match="network of dense tasks"):
        dense_predict(*arguments, height=32, width=32)
    with pytest.raises(ValueError, match="multiples of 32"):
        dense_predict(*arguments, height=30, width=32)
