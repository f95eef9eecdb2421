"""``popflip infer``: predictions of a saved network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from popflip.cli.device import device_for
from popflip.cli.display import announce, table
from popflip.cli.options import DEVICE, Settings, with_settings
from popflip.cli.outputs import Outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray


@with_settings(("dataset", "label", "data_dir", "allow_other_data", *DEVICE))
def infer(
    settings: Settings,
    model: Annotated[Path, typer.Option(metavar="F.npz", help="A network saved by popflip train --save.")],
    predictions: Annotated[
        Path | None, typer.Option(metavar="F.csv", help="Write the predicted classes, one per line.")
    ] = None,
) -> None:
    """Predict classes with a saved network, and print its accuracy.

    Without --dataset, it predicts the test samples of the network's own data set. With a file, it predicts every sample
    in it. The file may lack classes; --predictions writes the predicted ones.
    """
    import numpy as np

    from popflip.checkpoint import load
    from popflip.experiment import samples_for
    from popflip.files import check_outputs_differ, check_writable
    from popflip.repair import Snapshot
    from popflip.scores import never_predicted, score
    from popflip.training import accuracy
    from popflip.training import infer as predict

    paths = {"predictions": predictions, "waves": settings.waves}
    check_writable(**paths)
    check_outputs_differ(paths, {"model": model, "dataset": settings.dataset})
    saved = load(model)
    check_outputs_differ(paths, {"dataset": saved.dataset})
    x, y = samples_for(saved, settings.dataset, settings.data_dir, bool(settings.allow_other_data), settings.label)
    outputs = Outputs()
    with device_for(settings, settings.device or "golden", saved.config) as device:
        numbers = predict(device, x, Snapshot(saved.state, saved.status), announce, loaded=False)
        outputs.attempt(device.close)
    predicted = saved.labels[numbers]
    rows = [("samples", str(len(x)))]
    if y is not None:
        rows.append(("accuracy", f"{accuracy(predicted, y):.2%}"))
        scores = score(numbers, np.searchsorted(saved.labels, y), saved.config.classes)
        if scores.never_predicted:
            rows.append(("balanced accuracy", f"{scores.balanced_accuracy:.2%}"))
            rows.append(("never predicted", never_predicted(saved.labels[scores.never_predicted].tolist())))
    with outputs:
        if predictions:
            outputs.attempt(_write, predictions, predicted, path=predictions)
        table(rows)


def _write(path: Path, labels: NDArray) -> None:
    """Write one label a line; a label with a comma, a quote or a line break is quoted."""
    import csv
    import io

    from popflip.files import whole_file

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([label] for label in labels)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
