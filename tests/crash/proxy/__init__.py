"""A Kafka-aware TCP proxy: see README.md."""
from .relay import Proxy  # noqa: F401
