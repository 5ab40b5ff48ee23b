"""What stops a run and is no bug: a user's mistake, a machine that cannot, a program beside that fails."""


class UserError(Exception):
    """A mistake a user can mend. Its text is one sentence: what, why, what to do."""


class Unsupported(UserError):
    """This machine cannot run what was asked for. Raised before any model is loaded."""


class Unavailable(Exception):
    """A meter that cannot answer here. Its text is one sentence: the reason and the remedy."""


class Lost(Exception):
    """A meter that answered and then went away: one sentence for people, `code` for machines."""

    code = "device_lost"


class EngineFault(Exception):
    """An engine's own program failed. Its text is one sentence: what, why, what to do."""


class Busy(EngineFault):
    """A server that lives has turned a request away, as it has too many."""
