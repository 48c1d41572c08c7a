"""Errors that the user can fix: the command line prints only their text and exits with 2."""


class BoxwrightError(Exception):
    """Base of every error that boxwright raises about its input."""


class DataError(BoxwrightError, ValueError):
    """A data set, an image or an annotation cannot be used. The text names the file, and image and box if any."""


class RecipeError(BoxwrightError, ValueError):
    """A recipe, an option or a run folder cannot be used. The text names the key and the nearest valid one."""


class WriteError(BoxwrightError, OSError):
    """A file cannot be written: the disk is full or read-only, or the location is not the user's."""


class MissingWeights(BoxwrightError):
    """Pretrained weights are published but cannot be fetched here."""


class BoxwrightWarning(UserWarning):
    """Something that the user should know, but that does not stop the work."""
