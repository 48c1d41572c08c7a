"""Hard examples read as questions to the labels: which of them are probably wrong, and how."""

from boxwright.hardest.ranking import KINDS, Suspects, rank_labels

__all__ = ["KINDS", "Suspects", "rank_labels"]
