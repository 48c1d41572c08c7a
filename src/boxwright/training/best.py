"""Which epoch's weights are the model: the best by validation AP, of the epochs after which AP can be computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: written after an epoch whose AP is better than any before; none where AP is never computed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.stem, monitor="AP", mode="max", enable_version_counter=False)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Lightning's own takes the first value whatever it is."""
        defined = current is not None and not torch.isnan(current)
        return defined and bool(super().check_monitor_top_k(trainer, current))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best so far, also where the run folder was moved in the meantime."""
        here = {name: self._here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        scores = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": scores, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "") / Path(path).name) if path else path


class EarlyStoppingOnAP(EarlyStopping):
    """Ends the training after ``patience`` epochs without a better AP; those without any AP don't count."""

    def __init__(self, patience: int) -> None:
        super().__init__("AP", mode="max", patience=patience)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not torch.isnan(trainer.callback_metrics["AP"]):
            super().on_train_epoch_end(trainer, pl_module)


def which_is_the_model(epochs: int, without_ap: int, averaged: bool) -> str:
    """What to say of a training in which AP couldn't be computed after some epochs."""
    if without_ap < epochs:
        return (
            f"warning: AP could be computed after {epochs - without_ap} of {epochs} epochs only: the model is the best "
            "of these"
        )
    return f"warning: AP could never be computed: the last {'averaged ' if averaged else ''}weights are the model"
