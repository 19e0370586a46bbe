"""A synthetic world: a network of binding, cell types, and what instruments read of their cells.

Cell n of type t has the state z_n = μ_t + sd · noise. Molecule m of the network has ln T_nm = b_m + L_m·z_n
copies, and the network's binding equilibrium says how many of them are at the surface. Gene g has
ln level = b_g + W_g·z_n + its batch; a gene of the network has W_g = L_m + Δ_g. Counts are negative binomial,
also those of antibodies, whose mean is a background plus a scale times the copies at the surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

import multiscale as ms
from multiscale.model.network import Network
from multiscale.physics.energy import ln_weight
from multiscale.units import MOLECULES_PER_UM_FL

__all__ = ["Block", "World", "make_world", "random_graph"]

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """Neighbouring cells of the atlas.

    Args:
        counts: of genes, int32, shape (cell, gene).
        proteins: counts of antibodies, int32, shape (cell, antibody).
        state: z, float32, shape (cell, dimension).
        cell_type: its number, shape (cell,).
        batch: its number, shape (cell,).
    """

    counts: sparse.csr_array
    proteins: np.ndarray
    state: np.ndarray
    cell_type: np.ndarray
    batch: np.ndarray


@dataclass(frozen=True)
class World:
    """All that is true of every cell.

    Args:
        config: content of config.toml.
        graph: the network; its molecules are read by antibodies, its transcripts are the first genes.
        formula: subunits per species, shape (molecule, species).
        at_surface: copies of a molecule at the surface per copy of a species, shape (molecule, species).
        ln_weight: of species, in powers of µM, shape (species,).
        read: molecules that antibodies read, shape (antibody,).
        truth: named arrays: `shares` (type,), `means` (type, dimension), `copies` (molecule,),
            `loadings` (molecule, dimension), `levels` (batch, gene), `gene_loadings` (gene, dimension),
            `dispersion` (gene,), `background` and `scale` (batch, antibody).
    """

    config: Config
    graph: ms.Graph
    formula: np.ndarray
    at_surface: np.ndarray
    ln_weight: np.ndarray
    read: np.ndarray
    truth: dict[str, np.ndarray]

    @property
    def gene_names(self) -> list[str]:
        """Genes of the network first."""
        network = self.graph.nodes["molecule"]
        inside = network.loc[network["kind"] == "transcript", "identifier"].tolist()
        return inside + [f"G{i:04d}" for i in range(len(inside), self.config["genes"])]

    @property
    def protein_names(self) -> list[str]:
        """Antibodies go by the molecules that they read."""
        return [self.graph.molecules[i] for i in self.read]

    def block(self, number: int, cells: int) -> Block:
        """Draw block `number`: the same whatever was drawn before.

        Args:
            number: of the block, from 0.
            cells: how many it has.
        """
        c, truth = self.config, self.truth
        rng = np.random.default_rng([c["seed"], 1, number])
        kind = rng.choice(c["cell_types"], cells, p=truth["shares"])
        batch = rng.integers(c["batches"], size=cells)
        z = truth["means"][kind] + c["state"]["cell_sd"] * rng.standard_normal((cells, c["latent"]))
        counts = self._counts(rng, z, batch)
        proteins = self._proteins(rng, z, batch)
        return Block(counts, proteins, z.astype(np.float32), kind, batch)

    def surface(self, z: np.ndarray) -> np.ndarray:
        """Copies at the surface of every molecule, shape (cell, molecule)."""
        per_uM = MOLECULES_PER_UM_FL * self.config["network"]["volume_fL"]
        copies = np.exp(np.log(self.truth["copies"]) + z @ self.truth["loadings"].T)
        solved = ms.equilibrium(self.formula, self.ln_weight, copies / per_uM)
        if not bool(solved.solved.all()):
            raise ms.MultiscaleError("the network of a cell has no equilibrium; change `seed`.")
        return solved.x.numpy() @ self.at_surface.T * per_uM

    def expected_proteins(self, z: np.ndarray, batch: np.ndarray) -> np.ndarray:
        """Mean counts of antibodies at average capture, shape (cell, antibody)."""
        truth = self.truth
        return truth["background"][batch] + truth["scale"][batch] * self.surface(z)[:, self.read]

    def _counts(self, rng: np.random.Generator, z: np.ndarray, batch: np.ndarray) -> sparse.csr_array:
        c, truth = self.config["counts"], self.truth
        level = (z @ truth["gene_loadings"].T).astype(np.float32) + truth["levels"].astype(np.float32)[batch]
        level = np.exp(level - level.max(1, keepdims=True))
        depth = c["depth"] * np.exp(c["depth_sd"] * rng.standard_normal(len(z)))
        level *= (depth / level.sum(1))[:, None]
        r = truth["dispersion"].astype(np.float32)
        drawn = rng.standard_gamma(np.broadcast_to(r, level.shape), dtype=np.float32)
        drawn *= level
        drawn /= r
        return sparse.csr_array(rng.poisson(drawn).astype(np.int32))

    def _proteins(self, rng: np.random.Generator, z: np.ndarray, batch: np.ndarray) -> np.ndarray:
        c = self.config["surface"]
        capture = np.exp(c["cell_sd"] * rng.standard_normal((len(z), 1)))
        mean = capture * self.expected_proteins(z, batch)
        return rng.poisson(mean * rng.gamma(c["dispersion"], 1 / c["dispersion"], mean.shape)).astype(
            np.int32
        )


def make_world(config: Config) -> World:
    """Draw what is true of every cell.

    Args:
        config: content of config.toml.
    """
    graph_seed, seed = np.random.SeedSequence([config["seed"], 0]).spawn(2)
    graph = random_graph(config, np.random.default_rng(graph_seed))
    network, rng = Network.from_graph(graph), np.random.default_rng(seed)
    terms = torch.from_numpy(graph.parameters.loc[network.terms, "nominalValue"].to_numpy(float))
    subunits = torch.from_numpy(network.formula.sum(0).astype(float))
    factor = torch.from_numpy(np.log(network.statistical_factor))
    weight = ln_weight(torch.from_numpy(network.term_counts) @ terms, subunits, factor, config["temperature"])
    at_surface = (network.formula * network.surface).astype(float)
    read = np.flatnonzero(at_surface.any(1))[: config["proteins"]]
    truth = _truth(config, rng, len(read))
    return World(config, graph, network.formula, at_surface, weight.numpy(), read, truth)


def _truth(config: Config, rng: np.random.Generator, antibodies: int) -> dict[str, np.ndarray]:
    """Numbers of all laws, drawn from normal distributions whose sds config.toml states."""
    k, n, c, s = config["latent"], config["network"], config["counts"], config["surface"]
    genes, molecules, batches = config["genes"], n["molecules"], config["batches"]
    per_dimension = 1 / np.sqrt(k)
    loadings = config["state"]["loading_sd"] * per_dimension * rng.standard_normal((molecules, k))
    gene_loadings = c["gene_sd"] * per_dimension * rng.standard_normal((genes, k))
    departure = config["state"]["link_sd"] * per_dimension * rng.standard_normal((molecules, k))
    gene_loadings[:molecules] = loadings + departure
    levels = c["level_sd"] * rng.standard_normal(genes)

    def varied(median: float, sd: float, size: int) -> np.ndarray:
        of_batch = s["batch_sd"] * rng.standard_normal((batches, size))
        return median * np.exp(sd * rng.standard_normal(size) + of_batch)

    return {
        "shares": rng.dirichlet(np.full(config["cell_types"], 2.0)),
        "means": config["state"]["type_sd"] * rng.standard_normal((config["cell_types"], k)),
        "copies": n["copies"] * np.exp(n["copies_sd"] * rng.standard_normal(molecules)),
        "loadings": loadings,
        "levels": levels + c["batch_sd"] * rng.standard_normal((batches, genes)),
        "gene_loadings": gene_loadings,
        "dispersion": c["dispersion"] * np.exp(c["dispersion_sd"] * rng.standard_normal(genes)),
        "background": varied(s["background"], s["background_sd"], antibodies),
        "scale": varied(s["scale"], s["scale_sd"], antibodies),
    }


def random_graph(config: Config, rng: np.random.Generator) -> ms.Graph:
    """A network of random complexes of two or three different molecules, all at the surface.

    The first molecules are kept inside while they are free. Each has a complex of its own with a molecule
    that is not kept; every other complex adds a molecule to one of these, or joins two molecules.

    Args:
        config: content of config.toml.
        rng: of the draws.
    """
    n = config["network"]
    names = [f"M{i:02d}" for i in range(n["molecules"])]
    parts = _complexes(n, rng)
    contacts = [f"contact_{i:02d}" for i in range(len(parts))]
    rooms = ["inside" if i < n["retained"] else "surface" for i in range(len(names))]
    proteins = pd.DataFrame({"name": names, "kind": "protein", "identifier": names, "compartment": rooms})
    messages = pd.DataFrame({"name": [f"{name}.rna" for name in names], "kind": "transcript"})
    messages = messages.assign(identifier=[f"G{i:04d}" for i in range(len(names))], compartment="inside")
    label = [":".join(names[i] for i in part) for part, _ in parts]
    energy = [
        contacts[i] if base is None else f"{contacts[base]};{contacts[i]}"
        for i, (_, base) in enumerate(parts)
    ]
    complexes = pd.DataFrame({"name": label, "compartment": "surface", "energy": energy})
    edges = [(names[i], whole) for (part, _), whole in zip(parts, label, strict=True) for i in part]
    encodes = pd.DataFrame({"source": messages["name"], "target": names})
    value = n["energy"] + n["energy_sd"] * rng.standard_normal(len(contacts))
    return ms.Graph.from_tables(
        "atlas",
        {"molecule": pd.concat([proteins, messages]), "complex": complexes},
        {"subunit": pd.DataFrame(edges, columns=["source", "target"]), "encodes": encodes},
        _energies(contacts, value, n),
        _card(n),
    )


def _complexes(n: Config, rng: np.random.Generator) -> list[tuple[tuple[int, ...], int | None]]:
    """Molecules of each complex, and the number of the complex that it adds one molecule to."""
    free = np.arange(n["retained"], n["molecules"])
    parts: list[tuple[tuple[int, ...], int | None]] = [
        ((i, int(rng.choice(free))), None) for i in range(n["retained"])
    ]
    while len(parts) < n["complexes"]:
        base = int(rng.integers(n["retained"])) if rng.random() < 0.5 else None
        members = parts[base][0] if base is not None else (int(rng.choice(free)),)
        part = (*members, int(rng.choice(free)))
        different = len(set(part)) == len(part)
        if different and not any(set(part) == set(other) for other, _ in parts):
            parts.append((part, base))
    return parts


def _energies(contacts: list[str], value: np.ndarray, n: Config) -> pd.DataFrame:
    """Parameters: the truth is the nominal value, the prior is what it was drawn from."""
    prior = f"{n['energy']:g};{n['energy_sd']:g}"
    columns = {"parameterId": contacts, "nominalValue": value, "objectivePriorType": "normal"}
    columns |= {"objectivePriorParameters": prior, "unit": "kcal/mol", "role": "energy"}
    return pd.DataFrame(columns)


def _card(n: Config) -> dict[str, Any]:
    whole = {"geometry": "volume", "volume_fraction": 1.0}
    return {
        "title": "Random network of a synthetic atlas",
        "licence": "CC0-1.0",
        "cell": {"volume_fL": n["volume_fL"]},
        "compartments": {"surface": {"geometry": "membrane"}, "inside": whole},
    }
