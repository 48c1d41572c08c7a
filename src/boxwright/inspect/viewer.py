"""The part of the page that inspect.js controls."""

from __future__ import annotations

from boxwright.inspect.examples import MOST_NEAR, MOST_RATIO
from boxwright.inspect.inspection import Inspection
from boxwright.inspect.losses import LEAST_IOU, Mining
from boxwright.inspect.payload import KINDS
from boxwright.inspect.supervision import MatchRule
from boxwright.inspect.words import term
from boxwright.report.markup import Markup, details, text
from boxwright.text import plural

_WORDS = {
    True: ("positive", "hard", "hard", "negative", "ignored"),
    False: ("positive", "forced", "", "IoU", "ignored"),
}
"""The word that explains a kind, with losses and without."""


def viewer(inspection: Inspection, images: int) -> Markup:
    """Build the picture with one object and its anchors, their description, and the list of ``images``."""
    return Markup(
        f'<div class="viewer"><div class="look"><p id="caption"></p><p id="object-told" aria-live="polite"></p>'
        '<canvas id="canvas" tabindex="0" role="img" aria-label="The image with one object and its anchors; left and '
        'right arrow keys go to the objects, up and down to the anchors" aria-describedby="told"></canvas>'
        f'{_steps()}<p id="summary" aria-live="polite"></p></div>'
        f'<div>{_kinds(inspection.has_losses)}<dl id="told" aria-live="polite"></dl>{_sliders(inspection)}</div>'
        f'<div><div class="filters">{_filters(inspection)}</div>'
        '<div id="images" role="group" aria-label="Images; arrow keys move"></div>'
        '<p id="none" hidden>No image fits.</p></div></div>'
        f"{details('What is shown', _explanation(inspection, images))}"
    )


def _steps() -> str:
    return (
        '<div class="steps"><button type="button" class="plain" id="previous">← previous object</button>'
        '<button type="button" class="plain" id="next">next object →</button>'
        '<label class="tick"><input type="checkbox" id="zoom">zoom in</label></div>'
        '<label>Anchors of<select id="object"></select></label>'
    )


def _explanation(inspection: Inspection, images: int) -> Markup:
    recipe, rule, with_losses = inspection.recipe, MatchRule.of(inspection.recipe), inspection.has_losses
    said = [
        f"{plural(images, 'image')} as the network sees them, stretched back. The anchors of an object are the "
        f"stronger the more they overlap it. Shown are those that overlap an object by an IoU of {LEAST_IOU:g} or "
        f"answer for one, the {MOST_NEAR:,} that overlap most where there are more"
        + (f", and the hardest others: enough for {MOST_RATIO:g} negatives a positive." if with_losses else ".")
    ]
    left_out = len(inspection.examples) - images
    if left_out:
        said.append(f"{plural(left_out, 'image')} more would have made the page too large.")
    if with_losses:
        own = Mining.of(recipe).own
        said.append(
            "A positive is hard where its class has a score below 0.5; a negative where its loss is among the highest "
            f"of its image, so many for each positive{': what this recipe mines.' if own else '.'}"
            + ("" if own else f" This recipe's own miner: {recipe.miner}.")
        )
    if not rule.by_iou:
        said.append(f"Matcher {recipe.matcher} has no threshold on an IoU to move.")
    return Markup(f"<p>{text(' '.join(said))}</p>")


def _filters(inspection: Inspection) -> str:
    orders = [
        ("unmatched", "unmatched first"),
        *([("loss", "highest loss first")] if inspection.has_losses else []),
        ("name", "by name"),
    ]
    classes = [("", "any class"), *((str(label), name) for label, name in enumerate(inspection.dataset.classes))]
    sizes = [("", "any size"), *((name, name) for name in ("small", "medium", "large"))]
    only = [("", "all"), ("unmatched", "with unmatched objects")]
    lists = (
        ("order", "Order", orders),
        ("only", "Images", only),
        ("class", "With", classes),
        ("size", "Of size", sizes),
    )
    return "".join(_choice(*given) for given in lists)


def _choice(name: str, title: str, options: list[tuple[str, str]]) -> str:
    items = "".join(f'<option value="{value}">{text(shown)}</option>' for value, shown in options)
    return f'<label>{title}<select id="{name}">{items}</select></label>'


def _kinds(with_losses: bool) -> str:
    rows = [
        f'<div><label><input type="checkbox" data-kind="{kind}"{" checked" if kind < 2 + with_losses else ""}>'
        f'<i style="border-color:var(--kind{kind});border-style:{"solid" if kind < 2 else "dashed"}"></i>{name}</label>'
        f'{term(word, "?")}<output id="count{kind}"></output></div>'
        for kind, (name, word) in enumerate(zip(KINDS[with_losses], _WORDS[with_losses], strict=True))
        if name
    ]
    objects = '<div><label><input type="checkbox" id="objects" checked><i style="border-color:#fff"></i>objects'
    objects += '<span class="d">(dotted: no anchor)</span></label></div>'
    return f'<fieldset class="kinds"><legend hidden>Shown</legend>{"".join(rows)}{objects}</fieldset>'


def _sliders(inspection: Inspection) -> str:
    rule, sliders = MatchRule.of(inspection.recipe), []
    if rule.by_iou:
        sliders += [
            _slider("positive", "positive from IoU", (LEAST_IOU, 1, 0.01), rule.positive),
            _slider("negative", "negative below IoU", (LEAST_IOU, 1, 0.01), rule.negative),
        ]
    if inspection.has_losses:
        ratio = Mining.of(inspection.recipe).ratio
        sliders.append(_slider("ratio", "hard negatives a positive", (0, MOST_RATIO, 0.5), ratio))
    if not sliders:
        return ""
    inexact = "This page doesn't carry all anchors that would count now: raise the thresholds or lower the ratio."
    return (
        f'{"".join(sliders)}<p id="inexact" class="warning" hidden>{inexact}</p>'
        '<button type="button" class="plain" id="reset">as in the recipe</button>'
    )


def _slider(name: str, title: str, scale: tuple[float, float, float], value: float) -> str:
    low, high, step = scale
    return (
        f'<label class="slider">{title}<output id="{name}-value" for="{name}"></output>'
        f'<input type="range" id="{name}" min="{low}" max="{high}" step="{step}" value="{value}"></label>'
    )
