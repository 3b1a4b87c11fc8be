"""Figures of this machine: `make bench`, or `make bench ARGS="memory ingest"` for some of them.

Each module measures one promise with real processes and gives Figures. Wall-clock figures depend on what
else the machine does; the ratios, taken against a bare measure in the same minute, are the steadier half.
"""
