"""`joint_svd`: the domains' alphas share a frozen factor, at the published cost."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.compression import joint_svd, svd
from keras_univrep.metrics import parameter_ratio
from tests.compression.networks import (
    CLASSES,
    adapted,
    assert_close,
    conv_net,
    images,
    numpy,
    settle,
)
from tests.compression.test_svd import alphas, lost, ranks
from tests.harness import bits

NAMES = list(CLASSES)
CONVOLUTIONS = 5_806_944


def kernels(backbone: keras.Model) -> int:
    """Parameters of convolutions and adapters, without normalisations, as the paper counts."""
    return sum(int(np.prod(v.shape)) for v in backbone.weights if "normalization" not in v.path)


def test_nine_domains_cost_what_the_paper_says() -> None:
    trunk, domains = ResNet26(), [f"domain{number}" for number in range(9)]
    assert kernels(trunk) == CONVOLUTIONS
    full = AdaptedBackbone(trunk, domains, normalization="shared")
    half = AdaptedBackbone(trunk, domains, placement="half", normalization="shared")
    blocks = AdaptedBackbone(
        trunk, domains, placement=["early", "mid", "late"], normalization="shared"
    )
    joint = joint_svd(blocks, rank=0.5)
    assert kernels(full) == 2 * CONVOLUTIONS
    assert kernels(half) == CONVOLUTIONS + 9 * 344_064
    assert kernels(joint) == CONVOLUTIONS + 344_064 + 9 * 322_560
    ratios = [parameter_ratio(kernels(model), CONVOLUTIONS) for model in (full, half, joint)]
    assert [f"{ratio:.3f}" for ratio in ratios] == ["2.000", "1.533", "1.559"]


def test_the_error_is_that_of_the_best_factors_of_all_domains_together() -> None:
    model = adapted(conv_net())
    small = joint_svd(model, 2)
    for name in ranks(model):
        # rebuffi2018 sec. 3.4: [alpha_1 ... alpha_T], filters in rows, channels of all in columns.
        old, new = (np.concatenate([a.T for a in alphas(m, name)], 1) for m in (model, small))
        assert old.shape[1] == 2 * alphas(model, name)[0].shape[0]
        np.testing.assert_allclose(np.sum((old - new) ** 2), lost(old, 2), atol=1e-6)
        assert lost(old, 2) > 1e-3


def test_beta_has_the_singular_values_and_gamma_is_orthonormal() -> None:
    model = adapted(conv_net())
    bank = joint_svd(model, 2).backbone.banks["conv2"]
    stack = np.concatenate([alpha.T for alpha in alphas(model, "conv2")], 1)
    values = np.linalg.svd(stack, compute_uv=False)[:2]
    beta = numpy(bank.beta)
    np.testing.assert_allclose(beta @ beta.T, np.diag(values**2), atol=1e-5)
    gammas = [numpy(bank.part(domain).kernel) for domain in NAMES]
    np.testing.assert_allclose(sum(gamma.T @ gamma for gamma in gammas), np.eye(2), atol=1e-5)


def test_with_one_domain_it_is_the_svd() -> None:
    backbone = settle(AdaptedBackbone(conv_net(), ["photo"]))
    joint, single = joint_svd(backbone, 2), svd(backbone, 2)
    for name in ranks(backbone):
        pair = [numpy(small.banks[name].adapter_kernel("photo")) for small in (joint, single)]
        np.testing.assert_allclose(*pair, atol=1e-6)
    assert_close(joint(images()), single(images()))


@pytest.mark.parametrize("energy", [0.4, 0.8, 0.95])
def test_energy_is_kept_of_all_domains_together(energy: float) -> None:
    model = adapted(conv_net())
    for name, rank in ranks(joint_svd(model, energy=energy)).items():
        matrices = alphas(model, name)
        stack = np.concatenate(matrices)
        sizes = [k for k in range(9) if 1 - lost(stack, k) / lost(stack, 0) >= energy]
        # A rank above what one alpha can have leaves the alphas as they are.
        assert rank == (sizes[0] if sizes[0] <= min(matrices[0].shape) else None)


def test_a_stem_keeps_its_alphas_at_a_fraction() -> None:
    entry = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, name="stem")(entry)
    model = adapted(keras.Model(entry, keras.layers.Conv2D(8, 3, name="next")(x)))
    small = joint_svd(model)
    assert ranks(small) == {"stem": None, "next": 4}  # Three channels have no rank of 8 / 2.
    for old, new in zip(alphas(model, "stem"), alphas(small, "stem")):
        np.testing.assert_array_equal(old, new)


def test_what_the_domains_have_in_common_is_kept_exactly() -> None:
    # Adapters of rank 2 that map into one common space.
    model = adapted(conv_net())
    rng = np.random.default_rng(0)
    for name in ranks(model):
        bank = model.backbone.banks[name]
        common = rng.normal(size=(2, bank.adapter_shape[-1]))
        for domain in NAMES:
            alpha = rng.normal(size=(bank.adapter_shape[-2], 2)) @ common
            bank.part(domain).kernel.assign(0.1 * alpha.reshape(bank.adapter_shape))
    small = joint_svd(model, energy=1 - 1e-9)
    assert set(ranks(small).values()) == {2}
    for domain in NAMES:
        assert_close(small(images(), domain=domain), model(images(), domain=domain))


def test_beta_stays_frozen_when_the_network_is_frozen_and_freed() -> None:
    small = joint_svd(adapted(conv_net()), 2)
    frozen = {v.path for v in small.non_trainable_variables if v.path.endswith("/beta")}
    small.trainable = False
    small.trainable = True
    betas = [bank.beta for bank in small.backbone.banks.values() if hasattr(bank, "beta")]
    adapters = [beta for beta in betas if "conv" in beta.path]
    assert len(adapters) == 3 and not any(beta.trainable for beta in adapters)
    assert {beta.path for beta in adapters} <= frozen
    assert not {beta.path for beta in adapters} & {v.path for v in small.trainable_variables}
    gammas = [v for v in small.trainable_variables if v.path.endswith("/gamma")]
    assert sum("adapter_" in v.path for v in gammas) == 3 * len(NAMES)


def test_gamma_trains_and_beta_does_not() -> None:
    small = joint_svd(adapted(conv_net()), 2)
    before = bits(small)
    small.compile(keras.optimizers.SGD(0.1))
    x, y = images(4), np.arange(4) % 3
    small.fit(dict.fromkeys(NAMES, x), dict.fromkeys(NAMES, y), verbose=0)
    after = bits(small)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    gammas = {path for path in before if path.endswith("/gamma") and "adapter_" in path}
    betas = {bank.beta.path for bank in small.backbone.banks.values() if hasattr(bank, "beta")}
    assert len(gammas) == 6 and gammas <= moved
    assert len(betas) == 3 and not betas & moved
    assert not moved & {v.path for v in small.backbone.trunk.weights}
