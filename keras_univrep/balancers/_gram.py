"""Arithmetic on Gram matrices of gradients, and small quadratic programs, on the device."""

from keras import ops

from keras_univrep.types import Tensor

TINY = 1e-30


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrix (n, m) times vector (m,)."""
    return ops.sum(matrix * vector[None, :], axis=1)


def norms(gram: Tensor) -> Tensor:
    """Lengths of the gradients, (tasks,)."""
    return ops.sqrt(ops.maximum(ops.diagonal(gram), 0.0))


def safe_norms(gram: Tensor) -> Tensor:
    """Lengths of the gradients with 1 for those that vanish, (tasks,)."""
    lengths = norms(gram)
    return ops.where(lengths > 0.0, lengths, ops.ones_like(lengths))


def rescale(gram: Tensor, factors: Tensor) -> Tensor:
    """Gram matrix of the gradients times `factors` (tasks,).

    One factor after the other: the product of two small ones may underflow.
    """
    return gram * factors[:, None] * factors[None, :]


def cosines(gram: Tensor) -> Tensor:
    """Cosines of the angles between the gradients, (tasks, tasks); 0 beside a vanishing one."""
    lengths = safe_norms(gram)
    return ops.clip(gram / lengths[:, None] / lengths[None, :], -1.0, 1.0)


def to_unit_scale(gram: Tensor) -> Tensor:
    """Gram matrix divided by its largest entry, as float32 knows no squares of small numbers."""
    return gram / largest(gram)


def largest(gram: Tensor) -> Tensor:
    """Largest entry of a Gram matrix, 1 if all are zero."""
    most = ops.max(ops.diagonal(gram))
    return ops.where(most > 0.0, most, ops.ones_like(most))


def length(gram: Tensor, weights: Tensor) -> Tensor:
    """Length of the combination of the gradients with `weights`, a scalar."""
    return ops.sqrt(ops.maximum(ops.sum(weights * times(gram, weights)), 0.0))


def present(gram: Tensor) -> Tensor:
    """1 for the tasks that have a gradient, 0 for those whose own is nothing beside the largest."""
    squares = ops.diagonal(gram)
    # Of lengths a millionth.
    return ops.cast(squares > 1e-12 * ops.max(squares), "float32")


def of_present(gram: Tensor) -> Tensor:
    """Cosines with which the tasks without a gradient stand alone, at right angles to all."""
    there = present(gram)
    identity = ops.eye(int(gram.shape[0]))
    return cosines(gram) * there[:, None] * there[None, :] + identity * (1.0 - there)


def on_simplex(
    gram: Tensor, linear: Tensor, factor: float | None, iterations: int | None = None
) -> Tensor:
    """Minimises over the simplex, by exact steps along pairs of coordinates.

    Without `factor`: w' gram w / 2 + linear' w. With it: factor sqrt(w' gram w) + linear' w, where
    each step minimises the quadratic that touches the root from above. The pair is the one that
    promises most, curvature taken into account, so that badly scaled tasks do no harm.

    Args:
        gram: (tasks, tasks), positive semi-definite, of largest entry about 1.
        linear: (tasks,).
        factor: Positive number, or None.
        iterations: Number of steps, or None for as many as gradients whose lengths span three
            decades need.

    Returns:
        Weights, (tasks,), non-negative and of sum 1.
    """
    tasks = int(gram.shape[0])
    start = ops.full((tasks,), 1.0 / tasks)
    if tasks == 1:
        return start
    if iterations is None:
        iterations = 30 if tasks <= 3 else min(12 * (tasks - 1) ** 2, 300)
    step = _quadratic_step if factor is None else _rooted_step
    scale = ops.convert_to_tensor(1.0 if factor is None else factor, "float32")
    weights = ops.fori_loop(0, iterations, step, (start, gram, linear, scale))[0]
    return weights / ops.sum(weights)


# The steps are functions of the module, and get all they need as state: JAX compiles a function
# once, but a closure anew in every call.


def _quadratic_step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    w, gram, linear, scale = state
    return _pair_step(w, gram, linear, times(gram, w), scale), gram, linear, scale


def _rooted_step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    w, gram, linear, factor = state
    product = times(gram, w)
    scale = factor * ops.rsqrt(ops.maximum(ops.sum(w * product), 1e-14))
    return _pair_step(w, gram, linear, product, scale), gram, linear, factor


def _pair_step(w: Tensor, gram: Tensor, linear: Tensor, product: Tensor, scale: Tensor) -> Tensor:
    gradient = linear + scale * product
    places = ops.arange(int(gram.shape[0]))
    up = ops.cast(ops.equal(places, ops.argmin(gradient)), "float32")
    gain = gradient - ops.sum(up * gradient)
    diagonal = ops.diagonal(gram)
    curvature = ops.sum(up * diagonal) + diagonal - 2.0 * times(gram, up)
    curvature = scale * ops.maximum(curvature, 1e-12)
    promise = ops.where(w > 0.0, ops.square(gain) / curvature, -1.0)
    down = ops.cast(ops.equal(places, ops.argmax(promise)), "float32")
    size = ops.minimum(ops.sum(down * gain) / ops.sum(down * curvature), ops.sum(down * w))
    return ops.maximum(w + size * (up - down), 0.0)


def non_negative(matrix: Tensor, linear: Tensor, iterations: int) -> Tensor:
    """Minimises v' matrix v / 2 + linear' v over v >= 0, by principal pivoting, row by row.

    Each step solves for the free coordinates and changes the side of the first one whose sign is
    wrong (Murty 1974): for a positive definite matrix that ends at the solution.

    Args:
        matrix: (n, n), positive definite, of largest entry about 1.
        linear: (problems, n).
        iterations: Number of steps; 2^n - 1 are always enough, a few n almost always.

    Returns:
        Solutions, (problems, n).
    """
    state = (ops.zeros_like(linear), matrix, linear)
    free = ops.fori_loop(0, iterations, _pivot_step, state)[0]
    return ops.maximum(_solve_free(free, matrix, linear), 0.0)


def _pivot_step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    free, matrix, linear = state
    v = _solve_free(free, matrix, linear)
    slack = ops.matmul(v, matrix) + linear
    wrong = ops.where(free > 0.0, -v, -slack) > 1e-7
    # The first wrong one alone: `argmax` gives the first of several ones.
    first = ops.one_hot(ops.argmax(ops.cast(wrong, "int32"), axis=1), int(matrix.shape[0]))
    flip = first * ops.cast(ops.any(wrong, axis=1, keepdims=True), "float32")
    return free + flip - 2.0 * free * flip, matrix, linear


def _solve_free(free: Tensor, matrix: Tensor, linear: Tensor) -> Tensor:
    """Solutions with the coordinates of `free` (problems, n) moving, and zeros elsewhere."""
    both = free[:, :, None] * free[:, None, :]
    system = both * matrix[None] + (1.0 - free)[:, :, None] * ops.eye(int(matrix.shape[0]))[None]
    return ops.solve(system, (-free * linear)[:, :, None])[:, :, 0]


def bargain(angles: Tensor, iterations: int) -> Tensor:
    """Solves `angles w = 1 / w` for w > 0, by Newton's method damped as the logarithm demands.

    Args:
        angles: (tasks, tasks), positive definite, with ones on the diagonal.
        iterations: Number of steps.

    Returns:
        Weights, (tasks,).
    """
    tasks = int(angles.shape[0])
    start = ops.full((tasks,), 1.0 / tasks**0.5)
    return ops.fori_loop(0, iterations, _bargain_step, (start, angles))[0]


def _bargain_step(_: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    w, angles = state
    slope = w * times(angles, w) - 1.0  # navon2022 claim 3.1
    # In units of w, so that Newton's matrix is never near a singular one.
    hessian = w[:, None] * angles * w[None, :] + ops.eye(int(angles.shape[0]))
    move = ops.solve(hessian, slope[:, None])[:, 0]
    decrement = ops.sqrt(ops.maximum(ops.sum(move * slope), 0.0))
    damping = ops.where(decrement > 0.25, 1.0 / (1.0 + decrement), 1.0)
    return w * (1.0 - damping * move), angles


def equal_projections(gram: Tensor) -> Tensor:
    """Weights of sum 1 whose combination projects equally on all gradients (liu2021, eq. 5)."""
    values, vectors = ops.eigh(cosines(gram))
    # Two gradients of one direction leave a choice: the least weights are taken.
    kept = values > 1e-6 * ops.max(values)
    inverse = ops.where(kept, 1.0 / ops.where(kept, values, ops.ones_like(values)), 0.0)
    along = ops.sum(vectors, axis=0) * inverse
    weights = ops.matmul(vectors, along[:, None])[:, 0] / safe_norms(gram)
    total = ops.sum(weights)
    safe = ops.where(ops.abs(total) > 0.0, total, ops.ones_like(total))
    return weights / safe
