"""The part of the page that inspect.js works: its controls, and what they mean."""

from __future__ import annotations

from boxwright.inspect.examples import MOST_NEAR, MOST_RATIO
from boxwright.inspect.inspection import Inspection
from boxwright.inspect.losses import LEAST_IOU, Mining
from boxwright.inspect.payload import KINDS
from boxwright.inspect.supervision import MatchRule
from boxwright.report.markup import Markup, text
from boxwright.text import plural


def viewer(inspection: Inspection) -> Markup:
    """Controls, the list of images, the picture and what is told of an anchor."""
    return Markup(
        f'{_explanation(inspection)}<div class="viewer"><div>{_filters(inspection)}'
        '<div id="images" role="group" aria-label="Images; arrow keys move"></div>'
        '<p id="none" hidden>No image fits.</p></div>'
        '<div><p id="caption"></p><canvas id="canvas" tabindex="0" role="img" '
        'aria-label="The image with its anchors; arrow keys step through them" aria-describedby="told"></canvas>'
        '<p id="summary" aria-live="polite"></p></div>'
        f"<div>{_kinds(inspection.run is not None)}"
        f'<label>Anchors of<select id="object"></select></label>{_sliders(inspection)}'
        '<dl id="told" aria-live="polite"></dl></div></div>'
    )


def _explanation(inspection: Inspection) -> str:
    recipe, rule, with_run = inspection.recipe, MatchRule.of(inspection.recipe), inspection.run is not None
    said = [
        f"{plural(len(inspection.examples), 'image')} as the network sees them, stretched back. Shown are the anchors "
        f"that overlap an object by an IoU of {LEAST_IOU:g} or answer for one, the {MOST_NEAR:,} that overlap most "
        "where there are more"
        + (f", and the hardest others: enough for {MOST_RATIO:g} negatives a positive." if with_run else ".")
    ]
    if with_run:
        own = Mining.of(recipe).own
        said.append(
            "A positive is hard where its class has a score below 0.5; a negative where its loss is among the highest "
            f"of its image, so many for each positive{': what this recipe mines.' if own else '.'}"
            + ("" if own else f" This recipe's own miner: {recipe.miner}.")
        )
    if not rule.by_iou:
        said.append(f"Matcher {recipe.matcher} has no threshold on an IoU to move.")
    return f'<p class="dim">{text(" ".join(said))}</p>'


def _filters(inspection: Inspection) -> str:
    with_run = inspection.run is not None
    orders = [
        ("unmatched", "unmatched first"),
        *([("loss", "highest loss first")] if with_run else []),
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
    return f'<div class="filters">{"".join(_choice(*given) for given in lists)}</div>'


def _choice(name: str, title: str, options: list[tuple[str, str]]) -> str:
    items = "".join(f'<option value="{value}">{text(shown)}</option>' for value, shown in options)
    return f'<label>{title}<select id="{name}">{items}</select></label>'


def _kinds(with_losses: bool) -> str:
    rows = [
        f'<label><input type="checkbox" data-kind="{kind}"{" checked" if kind < 2 + with_losses else ""}>'
        f'<i style="border-color:var(--kind{kind});border-style:{"solid" if kind < 2 else "dashed"}"></i>{name}'
        f'<output id="count{kind}"></output></label>'
        for kind, name in enumerate(KINDS[with_losses])
        if name
    ]
    objects = '<label><input type="checkbox" id="objects" checked><i style="border-color:#fff"></i>objects'
    objects += '<span class="d">(dotted: no anchor)</span></label>'
    return f'<fieldset class="kinds"><legend hidden>Shown</legend>{"".join(rows)}{objects}</fieldset>'


def _sliders(inspection: Inspection) -> str:
    rule, sliders = MatchRule.of(inspection.recipe), []
    if rule.by_iou:
        sliders += [
            _slider("positive", "positive from IoU", (LEAST_IOU, 1, 0.01), rule.positive),
            _slider("negative", "negative below IoU", (LEAST_IOU, 1, 0.01), rule.negative),
        ]
    if inspection.run is not None:
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
