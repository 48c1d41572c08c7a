"""The table of claims is well formed: each names arms of its experiment, and each arm is a recipe."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from boxwright.compare.plan.arms import arm_recipe, list_arms
from boxwright.recipes import Recipe, get_recipe
from boxwright.recipes.criterion import build_criterion
from boxwright.reproduce import CLAIMS, SIZES, Claim
from boxwright.reproduce.claims import EXPERIMENTS, LITTLE, Regression, Training
from boxwright.reproduce.page import make_page
from boxwright.reproduce.scenes import SCENES
from boxwright.simulate.descent import gradient_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKS = [
    (page.name, name) for page in PAGES for name in re.findall(r"reproductions\.md#([\w-]+)", page.read_text("utf-8"))
]
TRAININGS = {name: each for name, each in EXPERIMENTS.items() if isinstance(each, Training)}


def recipes(experiment: Training) -> list[Recipe]:
    rows = [{"name": name, **settings} for name, settings in experiment.arms.items()]
    base = get_recipe("lite320", **{**LITTLE, **experiment.common}, classes=tuple("0123456789"))
    return [arm_recipe(base, {}, arm) for arm in list_arms(rows)]


def test_names_are_unique_and_fit_a_link() -> None:
    names = [claim.name for claim in CLAIMS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)
    assert "all" not in names


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_is_a_sentence_on_two_arms_of_its_experiment(claim: Claim) -> None:
    experiment = EXPERIMENTS[claim.experiment]
    assert {claim.arm, claim.against} <= set(experiment.arms)
    assert claim.arm != claim.against
    assert (claim.measure == "AP") != isinstance(experiment, Regression)
    assert claim.sentence.endswith(".")
    assert claim.source.startswith("arXiv:")
    assert "|" not in claim.sentence + claim.source


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_arm_is_in_a_claim_and_the_data_are_known(name: str) -> None:
    experiment = EXPERIMENTS[name]
    used = {arm for claim in CLAIMS if claim.experiment == name for arm in (claim.arm, claim.against)}
    assert used == set(experiment.arms)
    assert isinstance(experiment, Regression) or experiment.scenes in SCENES


@pytest.mark.parametrize("name", TRAININGS)
def test_arms_are_recipes_that_can_be_trained_and_differ(name: str) -> None:
    found = recipes(TRAININGS[name])
    assert len({str(recipe.to_dict()) for recipe in found}) == len(found)
    for recipe in found:
        build_criterion(recipe)


def test_losses_of_the_regression_can_be_simulated() -> None:
    for arm in EXPERIMENTS["regression"].arms:
        gradient_of(arm)


def test_sizes_grow() -> None:
    trial, small, full = (vars(SIZES[name]) for name in ("trial", "small", "full"))
    assert all(trial[key] <= small[key] <= full[key] for key in trial)


def test_the_page_has_a_row_for_each_claim_before_anything_is_run() -> None:
    page = make_page({}, "small")
    rows = Counter(re.findall(r'^\| <a id="([\w-]+)"></a>', page, re.MULTILINE))
    assert rows == Counter(claim.name for claim in CLAIMS)
    assert page.count("not run yet") == len(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_the_published_page_has_the_row_as_the_command_writes_it(claim: Claim) -> None:
    page = (ROOT / "docs" / "reproductions.md").read_text(encoding="utf-8")
    assert f'<a id="{claim.name}"></a>`{claim.name}`: {claim.sentence} | {claim.source} |' in page


def test_pages_link_to_rows() -> None:
    assert {name for _, name in LINKS} <= {claim.name for claim in CLAIMS}
    assert len({page for page, _ in LINKS}) >= 4
