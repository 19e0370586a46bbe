"""Pure functions on tensors: energies, scales. No graph, no data."""
