"""`svd`: each alpha becomes its best product of rank K."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.compression import joint_svd, svd
from keras_univrep.models import MultiDomainModel
from tests.compression.networks import (
    CLASSES,
    adapted,
    assert_close,
    conv_net,
    images,
    numpy,
    subclassed,
    zoo,
)
from tests.harness import bits

NAMES = list(CLASSES)


def alphas(model: keras.Model, name: str) -> list[np.ndarray]:
    """The matrices of a layer's adapters, (channels, filters) each."""
    backbone = getattr(model, "backbone", model)
    kernels = [numpy(backbone.banks[name].adapter_kernel(domain)) for domain in NAMES]
    return [kernel.reshape(kernel.shape[-2:]) for kernel in kernels]


def lost(matrix: np.ndarray, rank: int) -> float:
    """The least squared error of a matrix of that rank (Eckart, Young)."""
    return float(np.sum(np.linalg.svd(matrix, compute_uv=False)[rank:] ** 2))


def ranks(model: keras.Model) -> dict[str, int | None]:
    banks = getattr(model, "backbone", model).banks
    return {name: bank.rank for name, bank in banks.items() if hasattr(bank, "rank")}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_error_is_that_of_the_best_factors(rank: int) -> None:
    model = adapted(conv_net())
    small = svd(model, rank)
    assert ranks(small) == {"conv0": rank, "conv1": rank, "conv2": rank}
    for name in ranks(model):
        for old, new in zip(alphas(model, name), alphas(small, name), strict=True):
            assert np.linalg.matrix_rank(new, tol=1e-5) == rank
            np.testing.assert_allclose(np.sum((old - new) ** 2), lost(old, rank), atol=1e-6)


def test_at_full_rank_nothing_changes_but_the_factors() -> None:
    model = adapted(conv_net(), placement="conv1")
    full = svd(model, 4)
    assert type(full) is MultiDomainModel and full.name == model.name
    for domain in NAMES:
        assert_close(full(images(), domain=domain), model(images(), domain=domain))
    assert {tuple(v.shape) for v in full.backbone.banks["conv1"].part("photo").weights} == {
        (4, 4),
        (4, 6),
    }


def test_all_the_energy_is_exact_for_every_kind_of_layer() -> None:
    model = adapted(zoo(), placement=".*")
    full = svd(model, energy=1.0)
    for domain in NAMES:
        assert_close(full(images(), domain=domain), model(images(), domain=domain))


@pytest.mark.parametrize("energy", [0.3, 0.6, 0.9, 0.99])
def test_energy_is_kept_in_every_domain_by_the_smallest_rank(energy: float) -> None:
    model = adapted(conv_net())
    for name, rank in ranks(svd(model, energy=energy)).items():
        kept = [
            min(1 - lost(alpha, size) / lost(alpha, 0) for alpha in alphas(model, name))
            for size in (rank, rank - 1)
        ]
        assert kept[0] >= energy > kept[1]


def test_a_fraction_is_one_of_the_filters_and_leaves_small_adapters() -> None:
    assert ranks(svd(adapted(conv_net()), 0.5)) == {"conv0": 2, "conv1": 3, "conv2": 4}
    # Three channels have no rank of 0.9 * 4, nor four of 0.9 * 6.
    model = adapted(conv_net())
    small = svd(model, 0.9)
    assert ranks(small) == {"conv0": None, "conv1": None, "conv2": None}
    assert_close(small(images(), domain="photo"), model(images(), domain="photo"))


@pytest.mark.parametrize("compress", [svd, joint_svd])
@pytest.mark.parametrize("rank", [5, np.int64(5)])
def test_each_layer_has_as_much_of_an_integer_rank_as_it_can(compress: Any, rank: int) -> None:
    # Images have three channels, conv1 has four, and no alpha a larger rank than that.
    assert ranks(compress(adapted(conv_net()), rank)) == {"conv0": 3, "conv1": 4, "conv2": 5}


def test_a_layer_at_its_largest_rank_loses_nothing() -> None:
    model = adapted(conv_net())
    small = svd(model, 5)
    for name in ("conv0", "conv1"):
        for old, new in zip(alphas(model, name), alphas(small, name), strict=True):
            np.testing.assert_allclose(new, old, atol=1e-6)


@pytest.mark.parametrize("compress", [svd, joint_svd])
def test_the_given_model_is_left_alone(compress: Any) -> None:
    model = adapted(conv_net())
    before, config = bits(model), model.get_config()
    small = compress(model, 2)
    small.compile("sgd")
    small.fit(dict.fromkeys(NAMES, images(3)), dict.fromkeys(NAMES, np.arange(3)), verbose=0)
    after = bits(model)
    assert all(np.array_equal(value, after[path]) for path, value in before.items())
    assert model.get_config() == config
    assert not {id(v) for v in model.variables} & {id(v) for v in small.variables}


@pytest.mark.parametrize("compress", [svd, joint_svd])
def test_backbones_are_compressed_and_saved_as_well(compress: Any, tmp_path: Any) -> None:
    backbone = adapted(conv_net()).backbone
    small = compress(backbone, 0.5)
    assert type(small) is AdaptedBackbone and ranks(small)["conv2"] == 4
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(
        numpy(loaded(images(), domain="photo")), numpy(small(images(), domain="photo"))
    )


def test_trunks_whose_layers_keras_named_are_compressed_as_well() -> None:
    backbone = adapted(subclassed(), placement="early").backbone
    assert list(ranks(joint_svd(backbone, 3)).values()) == [3]
    full = svd(backbone, 4)
    assert list(ranks(full).values()) == [4]
    assert_close(full(images(), domain="photo"), backbone(images(), domain="photo"))


def test_domains_that_came_later_are_compressed_too() -> None:
    model = adapted(conv_net(), placement="conv1")
    model.backbone.add_domain("video", like="photo")
    full = svd(model, 4)
    assert full.backbone.domains == (*NAMES, "video")
    assert_close(full.backbone(images(), domain="video"), model.features(images(), domain="photo"))


@pytest.mark.parametrize("compress", [svd, joint_svd])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rank": 7}, r"smaller side of the largest alpha, 6 at 'conv2'. Received: rank=7"),
        ({"rank": np.int64(99)}, "Received: rank=99"),
        ({"rank": 0}, "positive integer.*Received: rank=0"),
        ({"rank": True}, "Received: rank=True"),
        ({"rank": 1.0}, "fraction.*Received: rank=1.0"),
        ({"rank": "half"}, "Received: rank='half'"),
        ({"energy": 0.0}, r"`energy` must be in \(0, 1\]. Received: energy=0.0"),
        ({"energy": 1.5}, "Received: energy=1.5"),
    ],
)
def test_impossible_sizes_are_refused(compress: Any, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compress(adapted(conv_net()), **options)


@pytest.mark.parametrize("compress", [svd, joint_svd])
def test_models_without_full_parallel_adapters_are_refused(compress: Any) -> None:
    for options in ({"adapter": None}, {"adapter": "series"}, {"adapter_options": {"rank": 2}}):
        with pytest.raises(ValueError, match="parallel adapters with a full alpha"):
            compress(adapted(conv_net(), **options))
    with pytest.raises(TypeError, match="AdaptedBackbone. Received: <ResNet26"):
        compress(MultiDomainModel(ResNet26(NAMES, "parallel", width=1 / 16), CLASSES))
    with pytest.raises(TypeError, match="Received: 'model'"):
        compress("model")
