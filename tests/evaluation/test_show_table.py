"""Every number of the rows is printed once, under its column."""

from __future__ import annotations

import pytest

from keras_univrep.evaluation import show_table


def test_prints_all_rows_and_columns(capsys: pytest.CaptureFixture) -> None:
    show_table([{"method": "MDL", "mean": 84.5}, {"method": "URL", "mean": 86.25}], "Accuracy", 60)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["Accuracy"]
    rows = [[word for word in line if word not in "│┃"] for line in lines]
    assert ["method", "mean"] in rows
    assert ["MDL", "84.5"] in rows and ["URL", "86.25"] in rows
