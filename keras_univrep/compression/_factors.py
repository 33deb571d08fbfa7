"""Low-rank factors of the adapters of a network, of each domain alone or of all jointly."""

import numbers
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.compression._anatomy import backbone_of
from keras_univrep.compression._copying import banks_like, rebuild
from keras_univrep.layers import ParallelAdapter


def with_factors(
    model: keras.Model, rank: Any, energy: float | None, shared: bool, function: str
) -> keras.Model:
    """Returns a copy of a network in which parallel adapters are products gamma beta.

    Args:
        model: A `MultiDomainModel` over an `AdaptedBackbone`, or that backbone.
        rank: K, of which each layer takes what it can have, or a fraction of the filters.
        energy: In place of `rank`: the share of the squared singular values that K must keep.
        shared: Whether all domains have one beta.
        function: The name of the function, for errors.

    Returns:
        The network; layers whose alpha is too small for the K of a share keep it.
    """
    backbone = backbone_of(model, function)
    rank = _checked_size(rank, energy)
    if not isinstance(backbone, AdaptedBackbone):
        raise TypeError(
            f"`model` of {function} must have an AdaptedBackbone. Received: {backbone!r}. Wrap the "
            "trunk in `AdaptedBackbone(trunk, domains)`, and train its adapters."
        )
    banks = {
        name: bank for name, bank in backbone.banks.items() if isinstance(bank, ParallelAdapter)
    }
    factored = [name for name, bank in banks.items() if bank.rank is not None]
    if not banks or factored:
        raise ValueError(
            f"`model` of {function} must have parallel adapters with a full alpha. Received: "
            f"adapter={backbone.adapter!r}, with a rank at {factored}. Build it with "
            "adapter='parallel' and no rank."
        )
    limits = {name: min(bank.adapter_shape[-2:]) for name, bank in banks.items()}
    if energy is None and isinstance(rank, int) and rank > max(limits.values()):
        widest = max(limits, key=lambda name: limits[name])
        raise ValueError(
            "`rank` must be at most the smaller side of the largest alpha, "
            f"{limits[widest]} at {widest!r}. Received: rank={rank}. Pass a smaller one, or a "
            "fraction of the filters in (0, 1)."
        )
    factors = {}
    for name, bank in banks.items():
        alphas = [_matrix(bank, domain) for domain in backbone.domains]
        # rebuffi2018 sec. 3.4, transposed: channels lie in rows here, filters in columns.
        stacks = [np.concatenate(alphas)] if shared else alphas
        parts = [np.linalg.svd(stack, full_matrices=False) for stack in stacks]
        filters = alphas[0].shape[1]
        size = _rank(rank, energy, filters, limits[name], [values for _, values, _ in parts])
        if size <= limits[name]:
            # gamma is orthonormal, beta has the singular values.
            rows = np.concatenate([left[:, :size] for left, _, _ in parts])
            betas = [(values[:, None] * right)[:size] for _, values, right in parts]
            factors[name] = np.split(rows, len(alphas)), betas
    options = {
        name: {"rank": len(betas[0]), "shared": shared} for name, (_, betas) in factors.items()
    }
    copy = rebuild(model, options, without=factors)
    copies = banks_like(model, copy)
    for name, (gammas, betas) in factors.items():
        bank = copies[name]
        for index, part in enumerate(bank.parts):
            part.kernel.assign(gammas[index].astype("float32"))
            if not shared:
                part.beta.assign(betas[index].astype("float32"))
        if shared:
            bank.beta.assign(betas[0].astype("float32"))
    return copy


def _matrix(bank: ParallelAdapter, domain: str) -> np.ndarray:
    """Alpha as a matrix, (channels / groups, filters)."""
    alpha = ops.convert_to_numpy(bank.adapter_kernel(domain)).astype("float64")
    return alpha.reshape(alpha.shape[-2:])


def _checked_size(rank: Any, energy: float | None) -> int | float:
    if energy is not None:
        if not 0.0 < energy <= 1.0:
            raise ValueError(
                f"`energy` must be in (0, 1]. Received: energy={energy}. Pass 0.95 to keep 95 % of "
                "the squared singular values."
            )
        return rank
    if isinstance(rank, numbers.Integral) and not isinstance(rank, bool) and int(rank) >= 1:
        return int(rank)
    if isinstance(rank, float) and 0.0 < rank < 1.0:
        return rank
    raise ValueError(
        "`rank` must be a positive integer, or a fraction of the filters in (0, 1). Received: "
        f"rank={rank!r}. rebuffi2018 uses 0.5."
    )


def _rank(
    rank: int | float,
    energy: float | None,
    filters: int,
    limit: int,
    spectra: list[np.ndarray],
) -> int:
    """K of one layer; that of a share may be above the limit."""
    if energy is not None:
        return max(_rank_of_energy(values, energy) for values in spectra)
    return max(1, round(rank * filters)) if isinstance(rank, float) else min(rank, limit)


def _rank_of_energy(values: np.ndarray, energy: float) -> int:
    """The smallest number of singular values whose squares make the share; 1 where all are zero."""
    sums = np.cumsum(np.square(values))
    # What is left out by rounding in float32 is no energy.
    return int(np.searchsorted(sums, (energy - 1e-12) * sums[-1])) + 1 if sums[-1] else 1
