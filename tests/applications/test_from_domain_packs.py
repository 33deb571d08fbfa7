import keras
import numpy as np
import pytest

from keras_univrep.applications import UniversalResNet26, from_domain_packs
from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import MultiDomainModel, save_domain_pack


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Two domains over the trunk of the five, and the network that they were part of."""
    trunk = UniversalResNet26("five_domains", include_top=False)
    counts = {"birds": 2, "fish": 3}
    model = MultiDomainModel(AdaptedBackbone(trunk, list(counts)), counts)
    folder = tmp_path_factory.mktemp("packs")
    for name in counts:
        save_domain_pack(model, name, folder / f"{name}.zip")
    return model, folder


def test_the_packs_domains_answer_as_where_they_were_trained(packs):
    model, folder = packs
    found = from_domain_packs("demo", [folder / "fish.zip", folder / "birds.zip"])
    assert found.num_classes == {"fish": 3, "birds": 2}
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    for name in found.domains:
        answers = [keras.ops.convert_to_numpy(m(x, domain=name)) for m in (found, model)]
        np.testing.assert_allclose(*answers, rtol=1e-5, atol=1e-5)


def test_other_weights_no_packs_and_one_pack_twice_are_refused(packs):
    _, folder = packs
    path = folder / "birds.zip"
    with pytest.raises(ValueError, match="must have the trunk"):
        from_domain_packs("five_domains_teacher_eurosat", [path])
    with pytest.raises(ValueError, match="list of at least one"):
        from_domain_packs("demo", [])
    with pytest.raises(ValueError, match="list of at least one"):
        from_domain_packs("demo", path)
    with pytest.raises(ValueError, match="new to the network"):
        from_domain_packs("demo", [path, path])
