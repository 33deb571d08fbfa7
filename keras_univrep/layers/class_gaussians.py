"""A Gaussian for each class of an episode, with a regularised covariance of its own."""

from keras import ops

from keras_univrep.types import Tensor


def class_gaussians(x: Tensor, members: Tensor, released: bool = False) -> tuple[Tensor, Tensor]:
    """Means of the classes, and the Cholesky factors of their covariances.

    Samples of no class count nowhere. A class without samples has mean 0, and a covariance made
    of that of all samples.

    Equation:
        Simple CNAPS, with n_j samples of class j:

            Q_j = lambda_j S_j + (1 - lambda_j) S + I,   lambda_j = n_j / (n_j + 1)

        | symbol | here | shape |
        |---|---|---|
        | S_j | covariance of class j, over n_j - 1 | (episodes, way, channels, channels) |
        | S | covariance of all samples, over n - 1 | (episodes, channels, channels) |

    Args:
        x: Features in float32 or wider, (episodes, samples, channels).
        members: Ones where a sample is of a class, else zeros, (episodes, samples, way).
        released: Whether S_j of a class of one sample is, in each entry, the variance of the sample
            over its channels, as in the code that li2022 compares with; it is zero otherwise.

    Returns:
        Means (episodes, way, channels), and lower triangles L_j of shape (episodes, way, channels,
        channels) with L_j L_j' = Q_j.
    """
    count = ops.sum(members, axis=1)
    means = ops.matmul(ops.swapaxes(members, 1, 2), x) / ops.maximum(count, 1.0)[..., None]
    counted = ops.sum(members, axis=-1, keepdims=True)
    deviations = (x - ops.matmul(members, means)) * counted
    # (episodes, way, samples, channels): the samples of each class, zeros for the others.
    own = deviations[:, None] * ops.swapaxes(members, 1, 2)[..., None]
    spread = ops.matmul(ops.swapaxes(own, -1, -2), own)
    of_class = spread / ops.maximum(count - 1.0, 1.0)[..., None, None]
    if released:
        # One sample is its class's mean.
        variance = ops.var(means, axis=-1) * (x.shape[-1] / max(x.shape[-1] - 1, 1))
        variance = ops.where(count == 1.0, variance, ops.zeros_like(variance))
        of_class = of_class + variance[..., None, None]
    number = ops.sum(counted, axis=1, keepdims=True)
    centre = ops.sum(x * counted, axis=1, keepdims=True) / ops.maximum(number, 1.0)
    centred = (x - centre) * counted
    of_task = ops.matmul(ops.swapaxes(centred, 1, 2), centred) / ops.maximum(number - 1.0, 1.0)
    weight = (count / (count + 1.0))[..., None, None]
    covariance = weight * of_class + (1.0 - weight) * of_task[:, None]
    covariance = covariance + ops.eye(x.shape[-1], dtype=x.dtype)
    return means, ops.cholesky(covariance)


def mahalanobis_scores(x: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """Minus the squared Mahalanobis distances to the classes.

    Args:
        x: Queries, (episodes, samples, channels).
        means: As `class_gaussians` gives them, (episodes, way, channels).
        factors: Likewise, (episodes, way, channels, channels).

    Returns:
        Tensor of shape (episodes, samples, way).
    """
    differences = x[:, None] - means[:, :, None]
    whitened = ops.solve_triangular(factors, ops.swapaxes(differences, -1, -2), lower=True)
    return -ops.swapaxes(ops.sum(ops.square(whitened), axis=-2), 1, 2)
