"""A resilience proxy daemon that runs beside an application and protects its calls to providers.

`docs/architecture.md` is the map of this package.
"""

__version__ = "0.1.0"
