"""Networks whose domains are packed, and the check that a refused pack changes nothing."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import MultiDomainModel, load_domain_pack
from tests.harness import bits
from tests.models import toys

X = toys.images(1, 4)


def network(domains: dict[str, int], trunk_seed: int = 1, **options: object) -> MultiDomainModel:
    trunk = toys.draw_weights(toys.conv_backbone(8), trunk_seed)
    return MultiDomainModel(AdaptedBackbone(trunk, list(domains), **options), domains)


def trained(**options: object) -> MultiDomainModel:
    model = network({"photo": 5, "sketch": 3}, **options)
    rng = np.random.default_rng(5)
    for domain in model.domains:
        for variable in (
            *model.backbone.domain_weights(domain).values(),
            *model.head(domain).weights,
        ):
            variable.assign(np.abs(rng.normal(size=variable.shape)) + 0.1)
    return model


def logits(model: MultiDomainModel, domain: str) -> np.ndarray:
    return ops.convert_to_numpy(model(X, domain=domain))


def refuses(model: MultiDomainModel, path: pathlib.Path, match: str) -> None:
    """Loading raises an error, and leaves every bit and domain, and what is compiled, as it was."""
    model.compile("sgd")
    model.predict_on_batch({domain: X for domain in model.domains})
    predict = model.predict_function
    before, domains = bits(model), model.domains
    with pytest.raises(ValueError, match=match):
        load_domain_pack(model, path, name="new")
    assert model.domains == model.backbone.domains == domains
    assert model.compiled and model.predict_function is predict is not None
    after = bits(model)
    assert list(after) == list(before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
