"""Errors that are the user's to mend: the command line prints their text alone and exits with 2."""


class BoxwrightError(Exception):
    """Base of every error that boxwright raises about its input."""


class DataError(BoxwrightError, ValueError):
    """A data set, an image or an annotation that can't be used. The text names the file, and image and box if any."""


class RecipeError(BoxwrightError, ValueError):
    """A recipe, an option or a run folder that can't be used. The text names the key and the nearest valid one."""


class WriteError(BoxwrightError, OSError):
    """A file that can't be written: the disk is full or read-only, or the place is not the user's."""


class MissingWeights(BoxwrightError):
    """Pretrained weights that are published and can't be fetched from here."""


class BoxwrightWarning(UserWarning):
    """What the user should know and may go on with."""
