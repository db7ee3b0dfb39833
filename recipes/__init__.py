"""How the data and weights that ship inside the package are made."""
