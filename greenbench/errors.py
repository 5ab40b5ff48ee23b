"""The two ways in which a user, not a bug, stops a run."""


class UserError(Exception):
    """A mistake a user can mend. Its text is one sentence: what, why, what to do."""


class Unsupported(UserError):
    """This machine cannot run what was asked for. Raised before any model is loaded."""
