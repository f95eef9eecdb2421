"""``popflip infer``: predictions of a saved network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from popflip.cli.device import device_for
from popflip.cli.display import table
from popflip.cli.options import DEVICE, Settings, with_settings


@with_settings(("dataset", "data_dir", *DEVICE))
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
    from popflip.checkpoint import load
    from popflip.experiment import samples_for
    from popflip.files import check_writable, whole_file
    from popflip.training import accuracy

    check_writable(predictions=predictions, waves=settings.waves)
    saved = load(model)
    x, y = samples_for(saved, settings.dataset, settings.data_dir)
    with device_for(settings, settings.device or "golden", saved.config) as device:
        device.load(saved.state, saved.status)
        predicted = saved.labels[device.infer(x)]
    if predictions:
        with whole_file(predictions) as file:
            file.writelines(f"{label}\n".encode() for label in predicted)
    rows = [("samples", str(len(x)))]
    if y is not None:
        rows.append(("accuracy", f"{accuracy(predicted, y):.2%}"))
    table(rows)
