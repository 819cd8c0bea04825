"""The merge engine, pure and compiled, against the libraries from PyPI and npm that one would use instead."""
