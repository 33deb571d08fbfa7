"""A table of results on the screen."""

from collections.abc import Mapping, Sequence
from typing import Any


def show_table(rows: Sequence[Mapping[str, Any]], title: str, width: int = 180) -> None:
    """Prints rows with the columns of the first, the method to the left and numbers to the right.

    Args:
        rows: `{"method": name, "<column>": number, ...}` each, one at least.
        title: What stands above.
        width: Characters of a line.

    Raises:
        ImportError: If rich is not installed.

    Example:
        >>> from keras_univrep.evaluation import show_table
        >>> show_table([{"method": "MDL", "mean": 84.6}], "Accuracy", width=40)
            Accuracy
        ┏━━━━━━━━┳━━━━━━┓
        ┃ method ┃ mean ┃
        ┡━━━━━━━━╇━━━━━━┩
        │ MDL    │ 84.6 │
        └────────┴──────┘
    """
    try:
        import rich.console
        import rich.table
    except ImportError as error:
        raise ImportError(
            "`show_table` prints with rich. Received: an installation without it. Run "
            "`pip install keras_univrep[recipes]`."
        ) from error
    printed = rich.table.Table(title=title)
    for column in rows[0]:
        printed.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        printed.add_row(*(str(value) for value in row.values()))
    rich.console.Console(width=width).print(printed)
