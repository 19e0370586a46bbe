"""SBML: models of other programs read, and models written for them."""
