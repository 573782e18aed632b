"""The faults by name. A file of this folder registers its own with @fault; all of them are read.

A round is called with a World whose instance 0 runs and is settled; it makes trouble under load and
leaves instance 0 running. A scenario gets a World of its own in which nothing runs, on a broker with
the properties it asks for, and does everything itself, checks included.
"""
import importlib
import pkgutil

FAULTS = {}


class Fault:
    def __init__(self, run, name, scenario, needs, broker, wipes):
        self.run = run
        self.name = name
        self.scenario = scenario
        self.needs = needs
        self.broker = broker or {}
        self.wipes = wipes
        self.about = (run.__doc__ or "").strip().split("\n")[0]


def fault(name, scenario=False, needs=(), broker=None, wipes=False):
    """needs: names of world.happened without which a run of it proves nothing (I12). wipes: it damages
    or takes away state directories; after any other, each must be as good as before."""
    def register(run):
        if name in FAULTS:
            raise ValueError(f"two faults are called {name}")
        FAULTS[name] = Fault(run, name, scenario, needs, broker, wipes)
        return run
    return register


def load_all():
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return FAULTS
