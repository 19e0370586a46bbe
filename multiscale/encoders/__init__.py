"""Networks that predict what physics leaves open: energies from features of a species."""
