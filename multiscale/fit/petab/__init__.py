"""PEtab problems as functions of their unknown parameters: likelihood, gradient, Fisher information."""
