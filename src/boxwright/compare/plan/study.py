"""The basis of a comparison: the data and the arms, each checked to be trainable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from boxwright.compare.plan.arms import arm_recipe, folder_name
from boxwright.compare.plan.options import CompareOptions
from boxwright.compare.results.results import Arm
from boxwright.compare.run.features import cache_name
from boxwright.compare.run.frozen import check_freezable
from boxwright.data import NORMAL, DetectionDataset, read_dataset
from boxwright.data.readers.reader import finding
from boxwright.errors import DataError, RecipeError
from boxwright.models import build_detector
from boxwright.models.memory import check_input
from boxwright.own_code import folder_of, own_modules
from boxwright.recipes import Recipe, base_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.recipes.fit import decide
from boxwright.training.reading import check_trainable
from boxwright.training.record import fingerprint


@dataclass(frozen=True)
class Setting:
    """A comparison before anything is measured."""

    data: Path
    arms: Sequence[Arm]
    recipes: dict[str, Recipe]
    """Recipes by arm, with class names."""
    options: CompareOptions
    folder: Path
    training: DetectionDataset
    validation: DetectionDataset
    weight_given: bool
    """Whether the user set a box weight."""
    left_out: Mapping[str, str]
    """Arm -> why it can't be trained; it is none of ``arms``."""
    decided: Mapping[str, Sequence[str]]
    """Arm -> what the training images decided of its recipe, with the reasons."""

    @property
    def baseline(self) -> Recipe:
        """The first arm's recipe."""
        return self.recipes[self.arms[0].name]

    @property
    def code(self) -> tuple[tuple[str, str], ...]:
        """Modules of your own parts, which the processes of the runs import, each with its folder."""
        modules = (module for recipe in self.recipes.values() for module in own_modules(recipe.to_dict()))
        return tuple((module, folder_of(module)) for module in dict.fromkeys(modules))

    def run_folder(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run."""
        return (self.folder / "runs" / f"{folder_name(arm)}-seed{seed}").resolve()

    def features_folder(self, arm: Arm) -> Path:
        """Return the folder in which the frozen tier keeps the features of the arm's backbone."""
        return (self.folder / "features" / cache_name(self.recipes[arm.name])).resolve()

    def request(self) -> dict[str, Any]:
        """Collect everything that must not change when a comparison is continued."""
        own = asdict(self.options)
        decided = {"decided": self.decided} if self.decided else {}
        kept = ("minutes", "steps", "tier", "box_weights", "split", "val_split")
        return {
            "arms": [asdict(arm) for arm in self.arms],
            "recipe": self.baseline.to_dict(),
            **{name: own[name] for name in kept},
            "data": fingerprint([self.training, self.validation]),
            **decided,
        }


_NOT_AN_ARMS = {
    "classes": "all arms are compared on the same classes",
    "reader": "all arms are compared on the same boxes",
    "voc_one_based": "all arms are compared on the same boxes",
    "exif": "all arms are compared on the same boxes",
    "epochs": "all arms make the same number of steps",
    "patience": "all arms make the same number of steps",
}


def set_out(
    data: Path, arms: Sequence[Arm], base: Recipe | None, common: Mapping[str, Any], options: CompareOptions
) -> Setting:
    """Read the data, and leave out the arms whose parts don't go together; the first of the others is the baseline.

    ``base``: the recipe that was named for all arms, if one was; ``common``: recipe keys that were set for all.
    Raises DataError and RecipeError: for keys and values that no arm can have, and where fewer than two arms are left.
    """
    for key in {key for arm in arms for key in arm.settings} & _NOT_AN_ARMS.keys():
        raise RecipeError(f"{key} can't differ between arms: {_NOT_AN_ARMS[key]}")
    recipes = {arm.name: arm_recipe(base, common, arm) for arm in arms}
    if any(recipe.batch_size == "auto" for recipe in recipes.values()):
        usual = base_recipe(recipes[arms[0].name].detector).batch_size
        raise RecipeError(f"arms are compared at a batch size that is given: --set batch_size={usual} is the recipe's")
    if any("__main__" in own_modules(recipe.to_dict()) for recipe in recipes.values()):
        raise RecipeError(
            "the runs' processes can't import parts of a script or notebook (__main__): move them to a module"
        )
    first = recipes[arms[0].name]
    reading = first.reader_options | finding(options)
    training = read_dataset(data, options.split, classes=first.classes or None, negatives=first.negatives, **reading)
    reading |= training.pixels.to_dict()
    validation = read_dataset(data, options.val_split, classes=training.classes, **reading)
    if options.test:
        read_dataset(data, "test", classes=training.classes, **reading)  # before anything starts: it is there
    check_trainable(training)
    _check_comparable(validation)
    decided = {
        name: decide(recipe, training, minutes=options.minutes, steps=options.steps) for name, recipe in recipes.items()
    }
    # Without patience: the number of steps is fixed
    recipes = {name: recipe.replace(classes=training.classes, patience=0) for name, (recipe, _) in decided.items()}
    if options.tier == "frozen" and any(arm.start for arm in arms):
        raise RecipeError("the frozen tier keeps the backbone's published weights: --tier full compares starts")
    left_out = _untrainable(recipes, options)
    arms = [arm for arm in arms if arm.name not in left_out]
    if len(arms) < 2:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise RecipeError(f"{len(left_out)} of {len(recipes)} arms can't be trained, and two are needed: {reasons}")
    arms = [replace(arm, baseline=arm is arms[0]) for arm in arms]
    recipes = {arm.name: recipes[arm.name] for arm in arms}
    folder = options.out or Path("compare") / data.resolve().name
    weighted = "box_weight" in common or any("box_weight" in arm.settings for arm in arms)
    said = {arm.name: [*map(str, decided[arm.name][1])] for arm in arms if decided[arm.name][1]}
    return Setting(data.resolve(), arms, recipes, options, folder, training, validation, weighted, left_out, said)


def _check_comparable(validation: DetectionDataset) -> None:
    """Raise DataError unless at least two images have boxes: the noise of the images is estimated from them."""
    owners = np.repeat(np.arange(len(validation)), np.diff(validation.offsets))
    holding = len(np.unique(owners[validation.code == NORMAL]))
    if holding < 2:
        what = "boxes in one image only" if holding else "no box"
        raise DataError(
            f"{validation.root}: split {validation.split!r} has {what}, and arms are compared on two images or more: "
            "--val-split NAME takes another one"
        )


def _untrainable(recipes: Mapping[str, Recipe], options: CompareOptions) -> dict[str, str]:
    """Find the arms whose parts do not fit together, each with the reason."""
    reasons = {}
    for name, recipe in recipes.items():
        try:
            check_input(recipe, recipe.images_a_batch)
            if options.tier == "frozen":
                check_freezable(recipe)
            else:
                build_detector(recipe, pretrained=False)
            build_criterion(recipe)
        except RecipeError as error:
            reasons[name] = str(error)
    return reasons
