import numpy as np
import pytest
from PIL import Image

from keras_univrep.programs import classify_folder
from keras_univrep.programs._pictures import read_image


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight(suffix, tmp_path):
    values = (np.arange(64, dtype="uint16") * 1000).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / f"deep{suffix}")
    found = read_image(tmp_path / f"deep{suffix}", (8, 8), whole=True)
    expected = np.round(values / 65535 * 255).astype("uint8")
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=-1))


def test_eight_bits_stay(tmp_path):
    values = np.arange(64, dtype="uint8").reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "grey.png")
    found = read_image(tmp_path / "grey.png", (8, 8), whole=True)
    np.testing.assert_array_equal(found[..., 0], values)


@pytest.mark.parametrize("values", [np.full((8, 8), 0.5, "float32"), np.full((8, 8), -1, "int32")])
def test_values_that_fit_no_eight_bits_are_refused(values, tmp_path):
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(ValueError, match="odd.tif.*integers of at most 16 bits"):
        read_image(tmp_path / "odd.tif", (8, 8))


@pytest.mark.parametrize("images", [None, ""])
def test_without_images_the_working_directory_is_not_taken(images, tmp_path, monkeypatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="`images` must be a folder of images"):
        classify_folder(str(tmp_path / "out"), images)
