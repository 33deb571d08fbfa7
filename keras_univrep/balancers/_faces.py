"""The small program of conflict-averse descent, solved on each face of the simplex at once."""

import itertools

import numpy as np
from keras import ops

from keras_univrep.balancers._gram import cosines, of_present, present, safe_norms, times
from keras_univrep.types import Tensor

# Of so many tasks there are 63 faces.
MOST = 6


def raise_worst(gram: Tensor, radius: Tensor) -> Tensor:
    """Weights v >= 0 of `u = sum_t v_t g_t` that raise the worst product most.

    `u` maximises `min_t <g_t, g + u>` over the ball `||u|| <= radius`, g the mean of the gradients.
    Where only the tasks of a set touch the minimum, mu, and `u` is a combination of their
    gradients, `gram v = mu - <g_t, g>` and `v' gram v = radius^2` are one quadratic equation in
    mu. All sets are tried, and the best `u` is taken: each is one that is allowed.

    Args:
        gram: (tasks, tasks), of largest entry 1. Tasks without a gradient are left out.
        radius: Positive scalar.

    Returns:
        Tensor of shape (tasks,), 0 for the tasks that are left out.
    """
    tasks = int(gram.shape[0])
    sets = np.array(list(itertools.product((0.0, 1.0), repeat=tasks)), "float32")
    there = present(gram)
    faces = ops.convert_to_tensor(sets) * there[None, :]
    along = ops.mean(gram, axis=1)
    # In unit gradients. Opposite or equal ones have no solution; a little less than these do.
    lengths = safe_norms(gram)
    angles = of_present(gram) + 1e-6 * ops.eye(tasks)
    both = faces[:, :, None] * faces[:, None, :]
    system = both * angles[None] + (1.0 - faces)[:, :, None] * ops.eye(tasks)[None]
    sides = ops.stack([faces / lengths, faces * (along / lengths)], axis=2)
    solved = ops.solve(system, sides)
    products = ops.matmul(ops.transpose(sides, (0, 2, 1)), solved)
    a, b, c = products[:, 0, 0], products[:, 0, 1], products[:, 1, 1]
    root = ops.sqrt(ops.maximum(ops.square(b) - a * (c - ops.square(radius)), 0.0))
    mu = (b + root) / ops.where(a > 0.0, a, ops.ones_like(a))
    v = ops.maximum(mu[:, None] * solved[:, :, 0] - solved[:, :, 1], 0.0)
    # Rounding knows no sums shorter than a part of their terms.
    angles = cosines(gram)
    sizes = ops.sqrt(ops.maximum(ops.sum(v * ops.matmul(v, angles), axis=1), 0.0))
    sizes = ops.maximum(sizes, ops.maximum(3e-4 * ops.sum(v, axis=1), 1e-12))
    stretched = radius / sizes
    # On the ball, where the solution is but for rounding, or within if that is better.
    factors = ops.concatenate([stretched, ops.minimum(stretched, 1.0)])
    found = factors[:, None] * ops.concatenate([v, v]) / lengths
    reached = along[None, :] + ops.matmul(found, gram)
    worst = ops.min(ops.where(there[None, :] > 0.0, reached, 1e30), axis=1)
    best = ops.one_hot(ops.argmax(worst), 2 * len(sets), dtype="float32")
    return times(ops.transpose(found), best)
