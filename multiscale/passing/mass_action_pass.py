"""dx/dt = N v(x) of mass action, sent over a graph by PyG operators: a layer for networks of PyG layers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, MessagePassing

from multiscale.passing.kinetic_operators import Change, MassAction
from multiscale.passing.messages import Group, fluxes
from multiscale.physics.mass_action import reversible_mass_action

__all__ = ["MassActionPass", "both_ways"]

Edge = tuple[str, str, str]
Values = Mapping[str, Tensor]

_SPECIES = ("molecule", "complex")


class MassActionPass(nn.Module):
    """dx/dt = N v(x), species → reaction → species in two rounds of PyG messages over `Graph.to_hetero()`.

    v = Π_c x_c · (k_f Π_s x_s^a_s − k_r Π_s x_s^b_s) with catalysts c, reactants a and products b. It equals
    `passing.Reactions.rate`, which is what solvers call; this one is for networks of PyG layers. Species
    flagged `constant` do not change.
    """

    def __init__(self) -> None:
        super().__init__()
        sides = ("reactant", "rev_product", "modifier")
        self.gather = nn.ModuleDict(
            {name: _conv({(s, name, "reaction"): MassAction() for s in _SPECIES}, None) for name in sides}
        )
        back = {("reaction", "product", s): Change(1) for s in _SPECIES}
        self.scatter = _conv(back | {("reaction", "rev_reactant", s): Change(-1) for s in _SPECIES}, "sum")

    def forward(
        self, x: Values, hetero: HeteroData, k_f: Tensor, k_r: Tensor, volume: Values | None = None
    ) -> dict[str, Tensor]:
        """Rate of change of all species.

        Args:
            x: concentrations per node type, µM, shape (node, context).
            hetero: graph as `Graph.to_hetero` makes it.
            k_f: forward rate constants, s⁻¹ and powers of µM, shape (reaction, context or 1).
            k_r: backward rate constants; not read where a reaction is not reversible.
            volume: volume of every species and reaction by node type, any one unit, shape (node,); by
                default all lie in one compartment.

        Returns:
            dx/dt in µM/s per node type, shape (node, context).

        Raises:
            ValueError: a law or a modifier is not of mass action, or a reaction is kept at equilibrium.
        """
        edges, stoichiometry = both_ways(hetero)
        flux = self.fluxes(x, hetero, k_f, k_r)
        if volume is not None:
            flux = flux * volume["reaction"].unsqueeze(-1)
        sent = self.scatter({**x, "reaction": flux}, edges, stoichiometry_dict=stoichiometry)
        return {kind: _kept(sent, values, hetero, kind, volume) for kind, values in x.items()}

    def fluxes(self, x: Values, hetero: HeteroData, k_f: Tensor, k_r: Tensor) -> Tensor:
        """Net flux of every reaction in µM/s, shape (reaction, context); arguments as of `forward`."""
        _refuse_other_laws(hetero)
        contexts = next(iter(x.values())).shape[1]
        k_f = k_f.expand(-1, contexts)
        reversible = hetero["reaction"].reversible.unsqueeze(-1)
        k_r = torch.where(reversible, k_r, torch.zeros_like(k_r)).expand(-1, contexts)
        edges, stoichiometry = both_ways(hetero)
        side = {
            name: conv({**x, "reaction": k_f}, edges, stoichiometry_dict=stoichiometry)
            for name, conv in self.gather.items()
        }
        one = torch.ones_like(k_f)
        made, used, catalysts = (
            side[name]["reaction"].prod(1) if side[name] else one
            for name in ("rev_product", "reactant", "modifier")
        )
        read = torch.cat([k_f, k_r, catalysts * used, catalysts * made]).T  # (context, 4 · reaction)
        rows = torch.arange(len(k_f), device=k_f.device)
        slots = torch.arange(read.shape[1], device=k_f.device).unflatten(0, (4, -1)).T
        return fluxes(read, [Group(reversible_mass_action(1, 1), slots, rows)]).T


def both_ways(hetero: HeteroData) -> tuple[dict[Edge, Tensor], dict[Edge, Tensor]]:
    """Edges in both directions, and their stoichiometry where they have one: what a `HeteroConv` takes.

    Args:
        hetero: graph as `Graph.to_hetero` makes it.

    Returns:
        `edge_index_dict` and `stoichiometry_dict`; edges against a relation are called `rev_<relation>`, as
        `torch_geometric.transforms.ToUndirected(merge=False)` calls them.
    """
    edges, stoichiometry = {}, {}
    for source, relation, target in hetero.edge_types:
        store = hetero[source, relation, target]
        there, back = (source, relation, target), (target, f"rev_{relation}", source)
        edges[there], edges[back] = store.edge_index, store.edge_index.flip(0)
        if "stoichiometry" in store:
            stoichiometry[there] = stoichiometry[back] = store.stoichiometry
    return edges, stoichiometry


def _conv(operators: Mapping[Edge, MessagePassing], aggr: str | None) -> HeteroConv:
    """`HeteroConv` of one half of a pass; that its sources are not updated is the point, not an accident."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There exist node types", UserWarning)
        return HeteroConv(dict(operators), aggr)  # pyright: ignore[reportArgumentType]


def _kept(sent: Values, values: Tensor, hetero: HeteroData, kind: str, volume: Values | None) -> Tensor:
    """What arrived at the species of one type, without those that are inputs."""
    change = sent[kind] if kind in sent else torch.zeros_like(values)
    if volume is not None:
        change = change / volume[kind].unsqueeze(-1)
    return torch.where(hetero[kind].constant.unsqueeze(-1), torch.zeros_like(change), change)


def _refuse_other_laws(hetero: HeteroData) -> None:
    other = sorted(set(hetero["reaction"].law) - {"mass_action"})
    roles = {role for s in _SPECIES for role in _roles(hetero, (s, "modifier", "reaction"))}
    other += sorted(roles - {"catalyst"}) + ["fast"] * bool(hetero["reaction"].fast.any())
    if other:
        raise ValueError(
            "`hetero` must have reactions of mass action, none of them fast, modified by catalysts only; got"
            f" {', '.join(other)}; use the solvers for others."
        )


def _roles(hetero: HeteroData, edge: Edge) -> list[str]:
    return hetero[edge].role if edge in hetero.edge_types else []
