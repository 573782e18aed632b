"""How a run ends badly."""


class Broken(Exception):
    """tally, or a server, did not do what it must; the text says what."""


class Violation(Exception):
    """An invariant does not hold. The text begins with its number."""


def must(condition, invariant, *facts):
    if not condition:
        raise Violation(invariant + ": " + ", ".join(str(fact) for fact in facts))
