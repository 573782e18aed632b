"""The model: what every record of the commands topics must lead to, from domain.md alone."""
from model.aggregate import DEAD, EVENT, FORWARDED, FORWARD_HEADER, REPEAT  # noqa: F401
from model.catalogue import Catalogue
from model.reservation import Reservation
from model.stock import Stock
from model.transfer import Transfer

TOPOLOGIES = {kind.topology: kind for kind in (Catalogue, Stock, Reservation, Transfer)}
