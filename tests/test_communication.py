"""Communication between groups: equilibria and scores by hand, scores of another program, a null."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse, stats
from scipy.optimize import brentq

from multiscale.errors import DataError, GraphError
from multiscale.fit.communication import COLUMNS, Communication, communication
from multiscale.fit.communication.null import p_values, permuted
from multiscale.fit.communication.scores import robust_rank
from multiscale.fit.communication.trimean import Trimeans
from multiscale.graph import GeneSet, Graph, add_gene_sets, graph_from_ligand_receptor, read_graph
from multiscale.units import MOLECULES_PER_UM_FL, Kd_from_delta_g

TEMPERATURE = 310.15
BINDING, ASSEMBLY = Kd_from_delta_g(-9.0, TEMPERATURE), Kd_from_delta_g(-12.0, TEMPERATURE)
VOLUME, SURFACE, CONFINEMENT, DENSITY = 200.0, 150.0, 3.0, 1e6
PER_UM = SURFACE * MOLECULES_PER_UM_FL * 1e-3 * CONFINEMENT  # copies per cell in a contact at 1 µM
CELL = {"volume_fL": VOLUME, "surface_um2": SURFACE, "proteins_per_fL": DENSITY}


def cells(**fractions: tuple[float, float]) -> AnnData:
    """Five equal cells of group A and five of group B, with these shares of 100,000 transcripts."""
    table = pd.DataFrame(fractions) * 1e5
    table["REST"] = 1e5 - table.sum(1)
    counts = np.repeat(table.to_numpy(), 5, axis=0)
    obs = pd.DataFrame({"type": ["A"] * 5 + ["B"] * 5}, index=[f"c{i}" for i in range(10)])
    return AnnData(counts, obs, pd.DataFrame(index=table.columns))


def random_cells(genes: list[str], count: int, seed: int, groups: int = 3) -> AnnData:
    """Poisson counts of genes that no label influences."""
    random = np.random.default_rng(seed)
    rates = random.uniform(0.5, 3.0, len(genes))
    counts = random.poisson(rates, (count, len(genes)))
    obs = pd.DataFrame({"type": random.permutation(np.arange(count) % groups).astype(str)})
    obs.index = [f"c{i}" for i in range(count)]
    return AnnData(counts.astype(float), obs, pd.DataFrame(index=genes))


def pairs(*rows: tuple[str, str], **options: object) -> Graph:
    table = pd.DataFrame(rows, columns=pd.Index(["ligand", "receptor"]))
    return graph_from_ligand_receptor(table, **options)  # type: ignore[arg-type]


def solve(adata: AnnData, graph: Graph, **options: object) -> Communication:
    defaults: dict[str, object] = {"groupby": "type", "permutations": 0, "min_share": 0.0, **CELL}
    return communication(adata, graph, **(defaults | options))  # type: ignore[arg-type]


def one(found: Communication, name: str) -> dict[Any, Any]:
    """Row of a complex from group A to group B."""
    return first(found.complexes, complex=name, source="A", target="B")


def first(table: pd.DataFrame, **wanted: str) -> dict[Any, Any]:
    """First row with these values."""
    rows = table.to_dict("records")
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def root(function: Callable[[float], float], high: float) -> float:
    return float(brentq(function, 0.0, high, xtol=1e-18))  # type: ignore[arg-type]


def bound(a: float, b: float, Kd: float) -> float:
    """Complex of totals a and b: the root of (a − c)(b − c) = Kd c below both."""
    half = 0.5 * (a + b + Kd)
    return a * b / (half + np.sqrt(half**2 - a * b))


def copies(fraction: float) -> float:
    return fraction * DENSITY * VOLUME


def test_one_ligand_and_one_receptor_bind_at_the_contact_as_the_quadratic_says() -> None:
    found = one(solve(cells(L=(1e-3, 0.0), R=(0.0, 2e-3)), pairs(("L", "R"))), "L:R")
    a, b = copies(1e-3) / PER_UM, copies(2e-3) / PER_UM
    assert found["concentration_uM"] == pytest.approx(bound(a, b, BINDING), rel=1e-10)
    assert found["complexes"] == pytest.approx(bound(a, b, BINDING) * PER_UM, rel=1e-10)
    assert found["occupancy"] == pytest.approx(bound(a, b, BINDING) / b, rel=1e-10)
    assert found["Kd_uM"] == pytest.approx(BINDING, rel=1e-10) and not found["Kd_known"]


def test_two_ligands_of_one_affinity_share_the_receptor_by_their_amounts() -> None:
    graph = pairs(("L1", "R"), ("L2", "R"))
    found = solve(cells(L1=(3e-3, 0.0), L2=(1e-3, 0.0), R=(0.0, 1e-3)), graph, default_Kd_uM=20.0)
    together = bound(copies(4e-3) / PER_UM, copies(1e-3) / PER_UM, 20.0)
    assert one(found, "L1:R")["concentration_uM"] == pytest.approx(0.75 * together, rel=1e-10)
    assert one(found, "L2:R")["concentration_uM"] == pytest.approx(0.25 * together, rel=1e-10)
    alone = solve(cells(L1=(3e-3, 0.0), L2=(0.0, 0.0), R=(0.0, 1e-3)), graph, default_Kd_uM=20.0)
    assert one(alone, "L1:R")["complexes"] > 1.2 * one(found, "L1:R")["complexes"]


def test_the_tighter_of_two_ligands_takes_more_than_its_share() -> None:
    adata = cells(L1=(1e-3, 0.0), L2=(1e-3, 0.0), R=(0.0, 1e-3))
    found = solve(adata, pairs(("L1", "R"), ("L2", "R")), Kd_uM={"L1:R": 5.0, "L2:R": 50.0})
    L, R = copies(1e-3) / PER_UM, copies(1e-3) / PER_UM
    free = root(lambda r: r + L * r / (5 + r) + L * r / (50 + r) - R, R)
    assert one(found, "L1:R")["concentration_uM"] == pytest.approx(L * free / (5 + free), rel=1e-9)
    assert one(found, "L2:R")["concentration_uM"] == pytest.approx(L * free / (50 + free), rel=1e-9)
    assert one(found, "L1:R")["Kd_known"] and one(found, "L1:R")["Kd_uM"] == pytest.approx(5.0)


def test_a_receptor_of_two_subunits_assembles_before_it_binds() -> None:
    adata = cells(L=(1e-3, 0.0), R1=(0.0, 4e-3), R2=(0.0, 1e-3))
    found = solve(adata, pairs(("L", "R1_R2")))
    per_cell = MOLECULES_PER_UM_FL * VOLUME
    whole = bound(copies(4e-3) / per_cell, copies(1e-3) / per_cell, ASSEMBLY) * per_cell
    expected = bound(copies(1e-3) / PER_UM, whole / PER_UM, BINDING)
    assert one(found, "L:R1_R2")["concentration_uM"] == pytest.approx(expected, rel=1e-9)
    row = first(found.table, source="A", target="B")
    assert row["receptor_copies"] == pytest.approx(whole, rel=1e-9) and row["receptor"] == "R2"


def test_a_trimeric_ligand_needs_three_copies() -> None:
    graph = pairs(("L3", "R"), complexes={"L3": {"L": 3}})
    found = solve(cells(L=(3e-3, 0.0), R=(0.0, 1e-3)), graph)
    total = copies(3e-3) / (MOLECULES_PER_UM_FL * VOLUME)
    free = root(lambda x: x + 3 * x**3 / ASSEMBLY**2 - total, total)
    trimer = free**3 / ASSEMBLY**2 * MOLECULES_PER_UM_FL * VOLUME / PER_UM
    assert one(found, "L3:R")["concentration_uM"] == pytest.approx(
        bound(trimer, copies(1e-3) / PER_UM, BINDING), rel=1e-8
    )


def test_a_secreted_ligand_dilutes_into_the_medium() -> None:
    graph = pairs(("L", "R"), secreted={"L"}, soluble_volume_fL=5000.0)
    found = one(solve(cells(L=(1e-3, 0.0), R=(0.0, 1e-3)), graph), "L:R")
    medium = MOLECULES_PER_UM_FL * 5000.0
    expected = bound(copies(1e-3) / medium, copies(1e-3) / medium, BINDING)
    assert found["concentration_uM"] == pytest.approx(expected, rel=1e-10)
    assert found["complexes"] == pytest.approx(expected * medium, rel=1e-10)


def test_volumes_and_surfaces_may_differ_between_groups() -> None:
    volume, surface = {"A": 100.0, "B": 400.0}, {"A": 120.0, "B": 300.0}
    adata = cells(L=(1e-3, 0.0), R=(0.0, 1e-3))
    found = one(solve(adata, pairs(("L", "R")), volume_fL=volume, surface_um2=surface), "L:R")
    per_um2 = MOLECULES_PER_UM_FL * 1e-3 * CONFINEMENT
    a, b = 1e-3 * DENSITY * 100.0 / 120.0 / per_um2, 1e-3 * DENSITY * 400.0 / 300.0 / per_um2
    assert found["concentration_uM"] == pytest.approx(bound(a, b, BINDING), rel=1e-10)
    assert found["complexes"] == pytest.approx(bound(a, b, BINDING) * per_um2 * 300.0, rel=1e-10)


def test_a_default_affinity_leaves_sourced_energies_alone() -> None:
    graph = pairs(("L1", "R"), ("L2", "R"))
    parameters = graph.parameters.copy()
    parameters.loc["g_L1_R", "reference"] = "measured"
    graph = Graph.from_tables(graph.name, graph.nodes, graph.edges, parameters, graph.card)
    adata = cells(L1=(1e-3, 0.0), L2=(1e-3, 0.0), R=(0.0, 1e-3))
    found = solve(adata, graph, default_Kd_uM=7.0)
    sourced, assumed = one(found, "L1:R"), one(found, "L2:R")
    assert sourced["Kd_known"] and sourced["Kd_uM"] == pytest.approx(BINDING)
    assert not assumed["Kd_known"] and assumed["Kd_uM"] == pytest.approx(7.0)


def test_product_scores_are_the_published_formulas() -> None:
    adata = cells(L=(1e-3, 2e-4), R1=(0.0, 2e-3), R2=(1e-4, 1e-3))
    row = first(solve(adata, pairs(("L", "R1_R2"))).table, source="A", target="B")
    log = np.log1p(np.asarray(adata.X) / 1e5 * 1e4)
    L, R, mean, largest = np.log(11.0), np.log(11.0), log.mean(), log.max()
    assert row["ligand_means"] == pytest.approx(L) and row["receptor_means"] == pytest.approx(R)
    assert row["lr_means"] == pytest.approx((L + R) / 2)
    assert row["expr_prod"] == pytest.approx(L * R)
    assert row["lrscore"] == pytest.approx(np.sqrt(L * R) / (mean + np.sqrt(L * R)))
    product = (L / largest) * (R / largest)
    assert row["lr_probs"] == pytest.approx(product / (0.5 + product))
    # R1 is not in group A, so A has none of the receptor; of L, group A has log 11 of log 11 + log 3.
    assert row["spec_weight"] == pytest.approx(L / (L + np.log(3.0)) * 1.0)


# LIANA 1.10.0 on the same data: cellphonedb, natmi, singlecellsignalr, cellchat with expr_prop=0.1.
LIANA = [
    ("CD14+ Monocyte", "Dendritic", "CD4", 2.350578, 2.041016, 0.705701, 0.06783413),
    ("Dendritic", "CD34+", "CD4", 1.115451, 0.6939931, 0.58303, 0.02325623),
    ("CD4+/CD25 T Reg", "CD19+ B", "CD4", 1.806203, 0.9807236, 0.62437, 0),
    ("CD34+", "CD19+ B", "MIF", 2.876729, 5.77492, 0.8013309, 0.260996),
    ("CD56+ NK", "CD14+ Monocyte", "MIF", 2.53336, 4.166253, 0.77406, 0.1905512),
    ("Dendritic", "Dendritic", "MIF", 2.800891, 3.447637, 0.7570761, 0.07726655),
    ("CD14+ Monocyte", "CD19+ B", "TNFSF13B", 0.704582, 0.4511623, 0.5299409, 0.01692029),
    ("Dendritic", "CD19+ B", "TNFSF13B", 0.6698436, 0.387427, 0.5109376, 0.01422947),
]


def test_scores_are_those_of_liana_on_the_same_data() -> None:
    import scanpy

    rows = [("CD4", "HLA-DRA_HLA-DRB1"), ("MIF", "CD74"), ("TNFSF13B", "TNFRSF13B")]
    graph = pairs(*rows, secreted={"MIF", "TNFSF13B"})
    adata = scanpy.datasets.pbmc68k_reduced()
    found = solve(adata, graph, groupby="bulk_labels", min_share=0.1).table
    assert len(found) == 148
    for source, target, ligand, *scores in LIANA:
        row = first(found, source=source, target=target, ligand_complex=ligand)
        ours = [row[name] for name in ("lr_means", "expr_prod", "lrscore", "lr_probs")]
        assert ours == pytest.approx(scores, abs=2e-6)


@pytest.mark.parametrize("sizes", [(1, 2, 30), (4, 5, 24), (11, 11, 11)])
def test_trimeans_are_those_of_numpy_quantiles(sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    values = random.exponential(size=(33, 7)) * (random.random((33, 7)) < random.random(7))
    labels = np.stack([random.permutation(np.repeat([0, 1, 2], sizes)) for _ in range(5)])
    found = Trimeans(sparse.csr_array(values))(labels, np.array(sizes))
    for i, label in enumerate(labels):
        for g in range(3):
            quartiles = np.quantile(values[label == g], [0.25, 0.5, 0.75], axis=0)
            assert found[i, g] == pytest.approx((quartiles * [[0.25], [0.5], [0.25]]).sum(0), abs=1e-12)


def test_ranks_agree_with_order_statistics_of_uniform_numbers() -> None:
    scores = np.random.default_rng(0).normal(size=(2000, 3))
    rho = robust_rank(scores)
    # Bonferroni over three order statistics: at most the nominal rate.
    assert (rho <= 0.1).mean() < 0.13
    assert rho[scores.sum(1).argmax()] < rho[scores.sum(1).argmin()]


STATISTICS = ["cellphone_pvals", "expr_prod_pvals", "cellchat_pvals", "complex_pvals", "occupancy_pvals"]


def test_p_values_are_uniform_when_labels_mean_nothing() -> None:
    names = [f"{side}{i}" for i in range(30) for side in "LR"]
    graph = pairs(*((f"L{i}", f"R{i}") for i in range(30)))
    targets = pd.DataFrame({"receptor": [f"R{i}" for i in range(30)], "target": [f"L{i}" for i in range(30)]})
    found: dict[str, list[float]] = {name: [] for name in [*STATISTICS, "downstream_pvals"]}
    for seed in range(10):
        run = solve(random_cells(names, 45, seed), graph, permutations=19, targets=targets, seed=seed)
        rows = run.table.query("source == '0' and target == '1'")
        assert len(rows) == 30
        for name, values in found.items():
            values += rows[name].tolist()
    for name, values in found.items():
        counts = np.histogram(values, bins=np.arange(0.0, 1.01, 0.1) + 0.025)[0]
        assert stats.chisquare(counts).pvalue > 1e-3, (name, counts)


def test_a_real_signal_gets_the_smallest_p_value() -> None:
    adata = random_cells(["L", "R", "X"], 60, 0)
    strong = adata.obs["type"].to_numpy()
    counts = np.asarray(adata.X)
    counts[:, 0] += 20 * (strong == "0")
    counts[:, 1] += 20 * (strong == "1")
    found = solve(adata, pairs(("L", "R")), permutations=99).table
    top = found.to_dict("records")[0]
    assert (top["source"], top["target"]) == ("0", "1")
    assert [top[name] for name in STATISTICS[:-1]] == pytest.approx([0.01] * 4)
    # More receptor than ligand: more of the receptor means that less of it is held.
    assert top["occupancy_pvals"] > 0.5


def test_permutations_do_not_depend_on_how_many_are_done_at_once() -> None:
    labels = np.arange(10) % 3
    few, many = (np.concatenate(list(permuted(labels, 20, 5, n))) for n in (3, 20))
    assert (few == many).all()
    values = np.random.default_rng(0).normal(size=10)

    def statistic(labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"sum": (labels * values).sum(1)}

    assert p_values(statistic, labels, 20, 5, 3).p == p_values(statistic, labels, 20, 5, 20).p


def test_equal_values_in_another_order_of_summation_count_as_reached() -> None:
    def statistic(labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"same": np.full(len(labels), 1.0) - 1e-12 * (labels[:, 0] == 1)}

    assert p_values(statistic, np.array([0, 1, 1]), 50, 0).p["same"] == 1.0


def test_downstream_is_the_weighted_shift_in_standard_deviations() -> None:
    adata = random_cells(["L", "R", "T1", "T2"], 30, 3)
    targets = pd.DataFrame(
        {"receptor": "R", "target": ["T1", "T2", "R", "none"], "weight": [2.0, -1.0, 1, 1]}
    )
    run = solve(adata, pairs(("L", "R")), targets=targets)
    counts = np.asarray(adata.X)
    log = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)[:, 2:]
    inside = (adata.obs["type"] == "1").to_numpy()
    shift = (log[inside].mean(0) - log[~inside].mean(0)) / log.std(0)
    row = first(run.downstream, target="1")
    assert row["downstream"] == pytest.approx((2 * shift[0] - shift[1]) / 3)
    assert row["genes"] == "T1;T2"
    assert run.table.query("target == '1'")["downstream"].nunique() == 1


def test_pathways_of_the_graph_name_targets_without_the_receptor_and_the_ligand() -> None:
    graph = pairs(("L", "R1_R2"), ("M", "S"))
    graph = add_gene_sets(graph, [GeneSet("p", "", ("R1", "S")), GeneSet("q", "", ("M",))])
    run = solve(random_cells(["L", "R1", "R2", "M", "S"], 30, 3), graph)
    genes = run.downstream.drop_duplicates("receptor_complex").set_index("receptor_complex")["genes"]
    assert genes.to_dict() == {"R1_R2": "S", "S": "R1"}


def test_without_targets_downstream_is_not_a_number() -> None:
    run = solve(random_cells(["L", "R"], 30, 3), pairs(("L", "R")), permutations=5)
    assert run.downstream.empty and run.table["downstream"].isna().all()
    assert run.table["downstream_pvals"].isna().all() and (run.table["downstream_targets"] == 0).all()


def test_rows_need_every_subunit_in_enough_cells() -> None:
    adata = cells(L=(1e-3, 0.0), R1=(0.0, 2e-3), R2=(1e-3, 1e-3))
    np.asarray(adata.X)[5:8, 2] = 0  # R2 in two of five cells of B
    found = solve(adata, pairs(("L", "R1_R2")), min_share=0.1).table
    assert found[["source", "target"]].to_numpy().tolist() == [["A", "B"]]
    assert found["receptor_props"].tolist() == pytest.approx([0.4])
    assert solve(adata, pairs(("L", "R1_R2")), min_share=0.5).table.empty


def test_logarithms_and_counts_give_the_same() -> None:
    adata = random_cells(["L", "R", "X"], 30, 0)
    counts = np.asarray(adata.X)
    logs = adata.copy()
    logs.X = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    first, second = (solve(a, pairs(("L", "R")), permutations=9).table for a in (adata, logs))
    pd.testing.assert_frame_equal(first, second)


def test_the_columns_are_documented_and_nothing_given_changes() -> None:
    adata = random_cells(["L", "R", "X"], 30, 0)
    before = adata.copy()
    found = solve(adata, pairs(("L", "R"), ("X", "R")), permutations=3)
    assert list(found.table) == list(COLUMNS)
    assert (np.asarray(adata.X) == np.asarray(before.X)).all() and list(adata.uns) == []
    assert found.matrix().shape == (3, 3) and len(found) == 18
    assert found.matrix().to_numpy().sum() == pytest.approx(found.table["complexes"].sum())
    assert repr(found).startswith("Communication: 18 rows, 2 pairs")


def test_a_graph_of_assemblies_within_and_between_cells_is_solved() -> None:
    import scanpy

    adata = scanpy.datasets.pbmc68k_reduced()
    found = communication(adata, read_graph("pbmc_surface"), groupby="bulk_labels", permutations=9)
    assert not found.table.drop(columns=["downstream", "downstream_pvals"]).isna().any().any()
    assert (found.table["complexes"] <= found.table["receptor_copies"] * 1.000001).all()
    assert found.table["occupancy"].between(0, 1).all()
    assert found.provenance["matrix"] == "raw.X"


WRONG: list[tuple[dict[str, object], str]] = [
    ({"groupby": "typ"}, "did you mean `type`"),
    ({"permutations": -1}, "`permutations` must be a whole number"),
    ({"min_share": 1.5}, "`min_share` must lie between 0 and 1"),
    ({"min_cells": 11}, "needs two"),
    ({"Kd_uM": {"L:Q": 1.0}}, "did you mean `L:R`"),
    ({"Kd_uM": {"L:R": 0.0}}, "must be positive, in µM; got 0.0"),
    ({"default_Kd_uM": float("nan")}, "`default_Kd_uM` must be positive"),
    ({"volume_fL": {"A": 1.0}}, "`volume_fL` lacks group `B`"),
    ({"surface_um2": -1.0}, "`surface_um2` of group `A` must be positive; got -1.0"),
    ({"proteins_per_fL": 0.0}, "`proteins_per_fL` must be positive"),
    ({"target_sum": 0.0}, "`target_sum` must be positive"),
    ({"targets": pd.DataFrame({"receptor": ["R"]})}, "it lacks `target`"),
    ({"targets": pd.DataFrame({"receptor": ["R"], "target": ["L"], "weight": ["x"]})}, "row 0: `weight`"),
    ({"targets": pd.DataFrame({"receptor": ["Q"], "target": ["L"]})}, "data have `Q`"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        solve(cells(L=(1e-3, 0.0), R=(0.0, 1e-3)), pairs(("L", "R")), **options)


def test_data_without_the_molecules_are_refused() -> None:
    with pytest.raises(DataError, match="no identifier of the graph is in the data"):
        solve(cells(X=(1e-3, 0.0)), pairs(("L", "R")))
    with pytest.raises(DataError, match=r"all their subunits in the data; it has `L - R`"):
        solve(cells(L=(1e-3, 0.0)), pairs(("L", "R")))


def test_pairs_without_data_are_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    found = solve(cells(L=(1e-3, 0.0), R=(0.0, 1e-3)), pairs(("L", "R"), ("L", "Q")))
    assert found.provenance["pairs_without_data"] == ["L - Q"] and "`L - Q`" in caplog.text
    assert set(found.table["receptor_complex"]) == {"R"} == set(found.complexes["receptor_complex"])


def test_a_graph_without_complexes_between_cells_is_refused() -> None:
    graph = Graph.from_tables("one", {"molecule": pd.DataFrame({"name": ["L"]})})
    with pytest.raises(GraphError, match="no complex between a sender and a receiver"):
        solve(cells(L=(1e-3, 0.0)), graph)


def test_an_assumed_volume_is_said(caplog: pytest.LogCaptureFixture) -> None:
    solve(cells(L=(1e-3, 0.0), R=(0.0, 1e-3)), pairs(("L", "R")), volume_fL=None)
    assert "210 fL is assumed" in caplog.text
