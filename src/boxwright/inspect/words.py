"""The technical words of the page: each is a button that explains it, and all are listed at the end."""

from __future__ import annotations

from boxwright.report.markup import Markup, details, section, text

WORDS = {
    "anchor": "A box of a fixed place and size from which the network predicts (a default box or prior elsewhere). "
    "Each anchor answers for one object at most.",
    "positive": "An anchor that answers for an object: it learns the object's class and box.",
    "negative": "An anchor that answers for none: it learns to predict background.",
    "ignored": "An anchor that is neither: it overlaps an object too much for background and too little to answer for "
    "it, or lies on a crowd or difficult box. It costs nothing and learns nothing.",
    "IoU": "Intersection over union of two boxes: the area that they share, divided by the area that they cover "
    "together. 0 where they don't touch, 1 where they are equal.",
    "own anchor": "The anchor that overlaps an object most; its IoU is the object's best.",
    "forced": "An object below the threshold with every anchor gets its own anchor nevertheless, where the matcher has "
    "a force rule. Forced alone: all that answers for the object came by that rule.",
    "hard": "A positive whose class has a score below 0.5; a negative whose loss is among the highest of its image.",
    "level": "One of the network's maps. A cell of it is a stride of pixels wide, and all its cells have the same "
    "anchors.",
    "input": "What the network gets: the image after the resize. Sizes are in its pixels.",
}
"""The meanings of the page's words."""


def term(word: str, shown: str = "") -> Markup:
    """Show the word (or ``shown`` in its place) as a button that opens its meaning, by click, touch or keyboard."""
    label = f' aria-label="what {text(word)} means"' if shown == "?" else ""
    return Markup(
        f'<button type="button" class="term" popovertarget="word-{_key(word)}"{label}>{text(shown or word)}</button>'
    )


def glossary() -> Markup:
    """List all words, folded on the screen and open in print, with the texts that the buttons open."""
    listed = "".join(f"<dt>{text(word)}</dt><dd>{text(meaning)}</dd>" for word, meaning in WORDS.items())
    opened = "".join(
        f'<div popover class="meaning" id="word-{_key(word)}"><b>{text(word)}</b> {text(meaning)}</div>'
        for word, meaning in WORDS.items()
    )
    return Markup(section("Words", details("What the words mean", Markup(f'<dl class="words">{listed}</dl>'))) + opened)


def _key(word: str) -> str:
    return word.replace(" ", "-").lower()
