"""`join_pipelines` puts the batches of single domains side by side."""

import numpy as np
import pytest

from keras_univrep.datasets import (
    join_pipelines,
    load_domain,
    multi_domain_pipeline,
    pipeline,
)


def test_joined_pipelines_give_what_the_multi_domain_pipeline_gives() -> None:
    domains = {name: load_domain(name) for name in ("eurosat", "letters")}
    sizes = {"eurosat": 4, "letters": 3}
    parts = {n: pipeline(d, "train", sizes[n], training=True) for n, d in domains.items()}
    joined = join_pipelines(parts)
    expected = multi_domain_pipeline(domains, "train", sizes, training=True)
    for found, wanted in zip(joined.take(3), expected.take(3), strict=True):
        for a, b in zip(found, wanted, strict=True):
            assert list(a) == list(b) == ["eurosat", "letters"]
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


def test_no_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="must hold at least one dataset"):
        join_pipelines({})
