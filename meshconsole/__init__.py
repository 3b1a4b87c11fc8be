"""meshconsole: a terminal mesh console for teams who work together without internet."""

__version__ = "0.1.0"
