"""A heterogeneous graph network that predicts energies of species and rate corrections of reactions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import GraphConv, HeteroConv

from multiscale.passing.mass_action_pass import both_ways

__all__ = ["GraphEncoder"]

Edge = tuple[str, str, str]


class GraphEncoder(nn.Module):
    """Energies of species and ln-rate corrections of reactions from features of all nodes around them.

    h⁰ = tanh(W x) of features x, a learned constant for types without; then in every round
    h ← tanh(Σ_relations (mean over edges of n W h') + V h) with h' of the neighbour, the stoichiometry n as
    weight of the edge, and every relation sent both ways; at last g = w·h of complexes and ln-rate = bound ·
    tanh(w·h) of reactions. The last weights start at zero, so that a fit begins with the physics alone.

    Detailed balance holds whatever it predicts: it gives one energy per species, and one factor to the net
    flux of a reaction. Molecules are free reference forms: their energy is zero, and that is this network's
    duty.

    Args:
        metadata: node types and edge types of the graphs, `Graph.to_hetero().metadata()`.
        features: number of features per node type that has features; every feature about one in size.
        hidden: width of the node values between the layers.
        layers: rounds of messages, at least 1; a node sees others at most so many edges away.
        rate_bound: largest ln-rate correction; the default lets a rate change by at most a factor of ten.
        seed: initial weights; the global random state is untouched.
        dtype: of all weights.

    Source: per relation, the graph convolution of Morris et al. 2019, arXiv:1810.02244.
    """

    def __init__(
        self,
        metadata: tuple[Sequence[str], Sequence[Edge]],
        features: Mapping[str, int],
        hidden: int = 16,
        layers: int = 2,
        rate_bound: float = math.log(10.0),
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        kinds, edges = metadata
        _refuse(kinds, features, rate_bound)
        self.features, self.hidden, self.rate_bound = dict(features), hidden, rate_bound
        with torch.random.fork_rng(devices=[]):  # constructors draw weights, which `_start` draws anew
            self.inputs = nn.ModuleDict({kind: nn.Linear(n, hidden) for kind, n in features.items()})
            constant = {k: nn.Parameter(torch.empty(1, hidden)) for k in kinds if k not in features}
            self.constants = nn.ParameterDict(constant)
            self.rounds = nn.ModuleList(_convolution(edges, hidden) for _ in range(layers))
            self.energy, self.rate = nn.Linear(hidden, 1), nn.Linear(hidden, 1)
        self.to(dtype)
        self._start(seed)

    def forward(self, features: Mapping[str, Tensor], hetero: HeteroData) -> dict[str, Tensor]:
        """Predict what physics leaves open.

        Args:
            features: per node type, shape (node, feature); types that were announced with features.
            hetero: graph as `Graph.to_hetero` makes it.

        Returns:
            `energy`, kcal/mol per species (molecules, which get 0, then complexes), shape (species,): the
            `correction` of `physics.energy.species_energy`. `rate`, added to the `barrier` of
            `physics.energy.ln_rate_constants`, so that v = v_physics · exp(rate), shape (reaction,).
        """
        nodes = self._nodes(features, hetero)
        edges, stoichiometry = both_ways(hetero)
        like = next(iter(nodes.values()))
        weights = {
            kind: stoichiometry[kind].to(like.dtype)
            if kind in stoichiometry
            else like.new_ones(edge.shape[1])
            for kind, edge in edges.items()
        }
        for convolution in self.rounds:
            sent = convolution(nodes, edges, edge_weight_dict=weights)
            nodes = nodes | {kind: value.tanh() for kind, value in sent.items()}
        g = self.energy(_values(nodes, "complex", like)).squeeze(-1)
        bounded = self.rate(_values(nodes, "reaction", like)).squeeze(-1).tanh()
        free = like.new_zeros(_values(nodes, "molecule", like).shape[0])
        return {"energy": torch.cat([free, g]), "rate": self.rate_bound * bounded}

    def _nodes(self, features: Mapping[str, Tensor], hetero: HeteroData) -> dict[str, Tensor]:
        """First values of all nodes."""
        if set(features) != set(self.features) or not set(features) <= set(hetero.node_types):
            raise ValueError(
                f"`features` must have {_listed(self.features)} as announced; got {_listed(features)}"
                f" for a graph of {_listed(hetero.node_types)}."
            )
        known = [kind for kind in self.constants if kind in hetero.node_types]
        nodes = {kind: self.constants[kind].expand(hetero[kind].num_nodes, -1) for kind in known}
        for kind, values in features.items():
            expected = (hetero[kind].num_nodes, self.features[kind])
            if values.shape != expected:
                raise ValueError(
                    f"`features` of `{kind}` must have shape (node, feature) = {expected};"
                    f" got {tuple(values.shape)}."
                )
            nodes[kind] = self.inputs[kind](values).tanh()
        return nodes

    def _start(self, seed: int) -> None:
        """Draw all weights from a generator of their own; biases and the last layers are zero."""
        generator = torch.Generator().manual_seed(seed)
        last = {*self.energy.parameters(), *self.rate.parameters()}
        for parameter in self.parameters():
            if parameter in last or parameter.ndim < 2:
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter, generator=generator)


def _convolution(edges: Sequence[Edge], hidden: int) -> HeteroConv:
    """One round of messages along every relation, both ways."""
    back = [(target, f"rev_{relation}", source) for source, relation, target in edges]
    return HeteroConv({edge: GraphConv((hidden, hidden), hidden, aggr="mean") for edge in [*edges, *back]})


def _values(nodes: Mapping[str, Tensor], kind: str, like: Tensor) -> Tensor:
    """Values of the nodes of a type, none where the graph has no such type."""
    return nodes[kind] if kind in nodes else like.new_zeros(0, like.shape[1])


def _refuse(kinds: Sequence[str], features: Mapping[str, int], rate_bound: float) -> None:
    unknown = [kind for kind in features if kind not in kinds]
    if unknown:
        raise ValueError(
            f"`features` must name node types of the graph ({_listed(kinds)}); got {_listed(unknown)}."
        )
    if not features or min(features.values()) < 1:
        raise ValueError(f"`features` must give at least 1 feature to at least one type; got {features}.")
    if not rate_bound > 0:
        raise ValueError(f"`rate_bound` must be positive; got {rate_bound}.")


def _listed(names) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
