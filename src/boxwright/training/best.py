"""Choose the epoch whose weights become the model: the best validation AP among epochs for which AP is defined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """Writes best.ckpt after an epoch with a better AP than any before; none if AP is never defined."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.stem, monitor="AP", mode="max", enable_version_counter=False)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Tell whether the AP is better; Lightning would accept the first value, even NaN."""
        defined = current is not None and not torch.isnan(current)
        return defined and bool(super().check_monitor_top_k(trainer, current))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best so far, also if the run folder was moved in the meantime."""
        here = {name: self._here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path")}
        scores = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": scores, "dirpath": self.dirpath})

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "") / Path(path).name) if path else path


class EarlyStoppingOnAP(EarlyStopping):
    """Ends the training after ``patience`` epochs without a better AP; epochs without any AP do not count."""

    def __init__(self, patience: int) -> None:
        super().__init__("AP", mode="max", patience=patience)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Check for the end, unless the epoch has no AP."""
        if not torch.isnan(trainer.callback_metrics["AP"]):
            super().on_train_epoch_end(trainer, pl_module)


def which_is_the_model(epochs: int, without_ap: int, averaged: bool) -> str:
    """Describe a training in which AP was undefined after some epochs."""
    if without_ap < epochs:
        return (
            f"warning: AP could be computed after {epochs - without_ap} of {epochs} epochs only: the model is the best "
            "of these"
        )
    return f"warning: AP could never be computed: the last {'averaged ' if averaged else ''}weights are the model"
