"""Find labels that are probably wrong, and how, from a detector's disagreement with them."""

from boxwright.hardest.ranking import KINDS, Suspects, rank_labels

__all__ = ["KINDS", "Suspects", "rank_labels"]
