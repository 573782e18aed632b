"""How a run ends badly."""


class Broken(Exception):
    """tally, or a server, did not do what it must; the text says what."""


class NotDumped(Broken):
    """A task that ran did not tell its state to the end."""


class Skipped(Exception):
    """The fault cannot be made here; the text says why. Neither passed nor failed."""


class Violation(Exception):
    """An invariant does not hold. The text begins with its number."""


def must(condition, invariant, *facts):
    if not condition:
        raise Violation(invariant + ": " + ", ".join(str(fact) for fact in facts))
