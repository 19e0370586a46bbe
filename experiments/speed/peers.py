"""Solvers of the field on the networks of `networks.py`: libRoadRunner (CVODE) and diffrax (Kvaerno5).

They are installed for this comparison only; a constructor raises ImportError where its package is missing.
Every solver here and in `dynamics.py` has the same methods: `tolerance` sets rtol, and atol in proportion to
it; `prepare` compiles; `value` returns x (system, time, species), `gradient` the derivative of Σ x² by every
rate constant (system, reaction), and `steps` the number of steps of one system, rejected ones included. One
that has no gradient has None.
"""

from __future__ import annotations

import os

import numpy as np
from networks import Network

__all__ = ["INSTALL", "Diffrax", "RoadRunner", "sbml"]

INSTALL = 'pip install libroadrunner python-libsbml "jax==0.10.2" diffrax optimistix'


def sbml(network: Network) -> str:
    """The network as an SBML model with species s0, s1, ... and global parameters k0, k1, ..."""
    import libsbml

    document = libsbml.SBMLDocument(3, 1)
    model = document.createModel()
    compartment = model.createCompartment()
    _set(compartment, Id="c", Size=1.0, SpatialDimensions=3, Constant=True)
    for i, x in enumerate(network.x0):
        _set(
            model.createSpecies(), Id=f"s{i}", Compartment="c", InitialConcentration=float(x), Constant=False
        )
        _set(model.getSpecies(i), BoundaryCondition=False, HasOnlySubstanceUnits=False)
    for r, (k, reactants) in enumerate(zip(network.k, network.reactants, strict=True)):
        _set(model.createParameter(), Id=f"k{r}", Value=float(k), Constant=True)
        reaction = model.createReaction()
        _set(reaction, Id=f"r{r}", Reversible=False, Fast=False)
        for i, coefficient in network.change[r].items():
            if coefficient:
                side = reaction.createReactant() if coefficient < 0 else reaction.createProduct()
                _set(side, Species=f"s{i}", Stoichiometry=float(abs(coefficient)), Constant=True)
        for i in set(reactants):
            _set(reaction.createModifier(), Species=f"s{i}")
        flux = " * ".join([f"k{r}", *(f"s{i}" for i in reactants)])
        reaction.createKineticLaw().setMath(libsbml.parseL3Formula(flux))
    return libsbml.writeSBMLToString(document)


def _set(element, **values) -> None:
    for name, value in values.items():
        getattr(element, f"set{name}")(value)


class RoadRunner:
    """CVODE with dense linear algebra; one system after the other.

    Its absolute tolerance is given per species: a single number would be multiplied by each initial amount.
    """

    name = "libRoadRunner"
    gradient = None  # forward sensitivities only, and at evenly spaced times

    def __init__(self, network: Network) -> None:
        import roadrunner

        self.network = network
        self.runner = roadrunner.RoadRunner(sbml(network))
        self.runner.selections = [f"[s{i}]" for i in range(len(network.x0))]
        self.integrator = self.runner.integrator
        self.integrator.setValue("maximum_num_steps", 100_000)
        self.times = [0.0, *network.times.tolist()]

    def tolerance(self, rtol: float) -> None:
        """Set rtol and, in proportion, atol."""
        self.integrator.setValue("relative_tolerance", rtol)
        self.integrator.setValue("absolute_tolerance", [self.network.absolute(rtol)] * len(self.network.x0))

    def prepare(self, k: np.ndarray, gradient: bool) -> None:
        """Nothing: the constructor has compiled the model."""

    def value(self, k: np.ndarray) -> np.ndarray:
        """Concentrations at the output times, (system, time, species); NaN where CVODE gives up."""
        return np.stack([self._result(row) for row in k])

    def _result(self, k: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._start(k).simulate(times=self.times)[1:])
        except RuntimeError:
            return np.full((len(self.times) - 1, len(self.network.x0)), np.nan)

    def steps(self, k: np.ndarray) -> int:
        """Number of accepted steps, from a run that stops at every one of them."""
        self.integrator.setValue("variable_step_size", True)
        rows = len(self._start(k).simulate(0.0, self.times[-1]))
        self.integrator.setValue("variable_step_size", False)
        return rows - 1

    def _start(self, k: np.ndarray):
        self.runner.reset()
        self.runner.model.setGlobalParameterValues(k)
        return self.runner


class Diffrax:
    """Kvaerno5 with a chord root finder, which takes a sixth or less of the steps of the default one.

    Batches go through `vmap`. The first step is given: the one that diffrax would choose itself diverges in
    the random networks, which it survives, but then the gradient is NaN.
    """

    name = "diffrax"
    max_steps = 4096

    def __init__(self, network: Network) -> None:
        os.environ.setdefault("EQX_ON_ERROR", "nan")  # else a trial step that diverges ends the program
        import diffrax
        import jax
        import jax.numpy as jnp
        import optimistix

        jax.config.update("jax_enable_x64", True)
        self.jax = jax
        finder = diffrax.with_stepsize_controller_tols(optimistix.Chord)()
        matrix, x0, times = (jnp.asarray(a) for a in (network.stoichiometry, network.x0, network.times))
        width = max(len(row) for row in network.reactants)
        slots = jnp.asarray([[*row, *[len(x0)] * (width - len(row))] for row in network.reactants])

        def rate(t, x, k):
            return matrix @ (k * jnp.prod(jnp.append(x, 1.0)[slots], axis=1))

        def solve(k, rtol):
            return diffrax.diffeqsolve(
                diffrax.ODETerm(rate),
                diffrax.Kvaerno5(root_finder=finder),
                t0=0.0,
                t1=times[-1],
                dt0=1e-4 * times[0],
                y0=x0,
                args=k,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=network.absolute(rtol)),
                adjoint=diffrax.RecursiveCheckpointAdjoint(),
                max_steps=self.max_steps,
                throw=False,
            )

        def value(k, rtol):
            solution = solve(k, rtol)
            assert solution.ys is not None
            return solution.ys, solution.stats["num_steps"]

        def loss(k, rtol):
            return jnp.square(value(k, rtol)[0]).sum()

        self.tasks = {False: value, True: jax.value_and_grad(loss)}
        self.compiled = {}

    def tolerance(self, rtol: float) -> None:
        """Set rtol and, in proportion, atol."""
        self.rtol = self.jax.numpy.asarray(rtol)

    def prepare(self, k: np.ndarray, gradient: bool) -> None:
        """Trace and compile for the size of a batch."""
        batched = self.jax.jit(self.jax.vmap(self.tasks[gradient], in_axes=(0, None)))
        self.compiled[gradient, len(k)] = batched.lower(self.jax.numpy.asarray(k), self.rtol).compile()

    def value(self, k: np.ndarray) -> np.ndarray:
        """Concentrations at the output times, (system, time, species)."""
        return np.asarray(self.compiled[False, len(k)](k, self.rtol)[0])

    def gradient(self, k: np.ndarray) -> np.ndarray:
        """Derivative of Σ x², (system, reaction)."""
        return np.asarray(self.compiled[True, len(k)](k, self.rtol)[1])

    def steps(self, k: np.ndarray) -> int:
        """Number of steps, rejected ones included."""
        return int(self.compiled[False, 1](k[None], self.rtol)[1][0])
