import json

import keras
import pytest

from keras_univrep.evaluation import write_results


def test_the_file_holds_the_table_and_where_it_came_from(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_results(path, [{"method": "MDL", "mean": 80.5}], seed=3, seconds=1.26, split="test")
    result = json.loads(path.read_text())
    assert result["table"] == [{"method": "MDL", "mean": 80.5}]
    assert result["seed"] == 3 and result["seconds"] == 1.3 and result["split"] == "test"
    assert result["backend"] == keras.backend.backend()
    assert result["versions"]["keras"] == keras.__version__


def test_a_result_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    write_results(path, [{"method": "MDL"}], seed=0, seconds=1.0)
    before = path.read_text()
    with pytest.raises(TypeError):
        write_results(path, [{"method": object()}], seed=0, seconds=1.0)
    assert path.read_text() == before
