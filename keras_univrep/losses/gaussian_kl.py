"""How far a Gaussian is from another."""

from keras import ops

from keras_univrep.types import Tensor


def gaussian_kl(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor
) -> Tensor:
    """Computes KL(q || p) of diagonal Gaussians, summed over the last axis.

    Equation:
        lekkala2020, section 4.2, the term of its bound, in closed form:

            KL(q || p) = 1/2 sum_c (log s_p^2 - log s_q^2 + (s_q^2 + (m_q - m_p)^2) / s_p^2 - 1)

        | symbol | here | shape |
        |---|---|---|
        | m_q, log s_q^2 | `mean`, `log_variance`, the posterior | (..., channels) |
        | m_p, log s_p^2 | `prior_mean`, `prior_log_variance` | (..., channels) |

    Args:
        mean: Of q.
        log_variance: Of q.
        prior_mean: Of p.
        prior_log_variance: Of p.

    Returns:
        Tensor (...), not negative.

    Example:
        >>> from keras_univrep.losses import gaussian_kl
        >>> zero = ops.zeros((1,))
        >>> float(gaussian_kl(zero + 1.0, zero, zero, zero))
        0.5

    References:
        Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """
    ratio = ops.exp(log_variance - prior_log_variance)
    distance = ops.square(mean - prior_mean) * ops.exp(-prior_log_variance)
    terms = prior_log_variance - log_variance + ratio + distance - 1.0
    return 0.5 * ops.sum(terms, axis=-1)
