"""Rate laws of enzymes: saturation, reversibility with the Haldane relation, inhibition.

All of them are ratios of polynomials, written without fractions inside so that every slot may be zero but the
half-saturation constants. Concentrations are free concentrations; E is the total enzyme, which must be small
compared with its substrates or with Km (otherwise write binding and catalysis as mass action).
"""

from __future__ import annotations

from functools import cache

from multiscale.physics.law import Law
from multiscale.physics.rational import Extended, Ratio, law_of, polynomial

__all__ = [
    "LAWS",
    "competitive_inhibition",
    "michaelis_menten",
    "modular",
    "noncompetitive_inhibition",
    "reversible_michaelis_menten",
    "uncompetitive_inhibition",
]


@cache
def michaelis_menten(enzyme: bool = True) -> Law:
    """Irreversible saturable reaction: v = k_cat E S/(Km + S).

    Slots: k_cat (1/s), Km (µM), E, S (µM). The flux is at most k_cat E, half of it at S = Km.

    Args:
        enzyme: False for v = V_max S/(Km + S), with slots V_max (µM/s), Km, S, where no enzyme is modelled.

    Source: L. Michaelis and M. L. Menten, 1913, translated by K. A. Johnson and R. S. Goody, Biochemistry
    50:8264, 2011, doi:10.1021/bi201284u; Km of the steady state: G. E. Briggs and J. B. S. Haldane,
    Biochem. J. 19:338, 1925, doi:10.1042/bj0190338.

    >>> import torch
    >>> float(michaelis_menten().rate(torch.tensor([10.0, 3.0, 0.5, 1.0], dtype=torch.float64)))
    1.25
    """
    slots = ("k_cat", "Km", "E", "S") if enzyme else ("V_max", "Km", "S")
    top = "k_cat E S" if enzyme else "V_max S"
    return law_of("michaelis_menten", slots, Ratio(polynomial(slots, top), polynomial(slots, "Km", "S")))


@cache
def reversible_michaelis_menten() -> Law:
    """Reversible saturable reaction: v = k_cat E (S − P/K_eq)/K_s / (1 + S/K_s + P/K_p).

    Slots: k_cat (1/s, forward), K_s, K_p (µM), K_eq (1, P/S at equilibrium), E, S, P (µM). The backward
    turnover k_cat K_p/(K_s K_eq) follows from the Haldane relation, so that the flux is exactly zero at
    P = K_eq S; it lies between −E k_cat K_p/(K_s K_eq) and E k_cat.

    Source: J. B. S. Haldane, Enzymes, 1930; in this form E. Noor, A. Flamholz, W. Liebermeister, A. Bar-Even
    and R. Milo, FEBS Lett. 587:2772, 2013, doi:10.1016/j.febslet.2013.07.028.

    >>> import torch
    >>> z = torch.tensor([10.0, 2.0, 4.0, 3.0, 0.5, 2.0, 6.0], dtype=torch.float64)
    >>> float(reversible_michaelis_menten().rate(z))
    0.0
    """
    slots = ("k_cat", "K_s", "K_p", "K_eq", "E", "S", "P")
    top = polynomial(slots, "K_eq S K_p E k_cat", "- P K_p E k_cat")
    bottom = polynomial(slots, "K_eq K_s K_p", "K_eq K_p S", "K_eq K_s P")
    return law_of("reversible_michaelis_menten", slots, Ratio(top, bottom))


@cache
def competitive_inhibition() -> Law:
    """Inhibitor that binds the free enzyme: v = k_cat E S/(Km (1 + I/K_i) + S).

    Slots: k_cat (1/s), Km, K_i (µM), E, S, I (µM). The flux is at most k_cat E for any I.

    Source: G. D. Yadav and D. B. Magadum, in Enzyme Inhibitors and Activators, 2017, doi:10.5772/67692.

    >>> import torch
    >>> z = torch.tensor([10.0, 1.0, 2.0, 0.5, 3.0, 4.0], dtype=torch.float64)
    >>> float(competitive_inhibition().rate(z))
    2.5
    """
    return _inhibition("competitive_inhibition", "E S K_i k_cat", "Km K_i", "Km I", "S K_i")


@cache
def noncompetitive_inhibition() -> Law:
    """Inhibitor that binds the enzyme with and without substrate.

    v = k_cat E S/(Km (1 + I/K_i) + S (1 + I/(α K_i))).

    Slots: k_cat (1/s), Km, K_i (µM), alpha (1), E, S, I (µM). K_i belongs to the free enzyme and α K_i to the
    enzyme with substrate: α = 1 is pure non-competitive inhibition, k_cat E S/((Km + S)(1 + I/K_i)), any
    other α mixed inhibition. The flux is at most k_cat E/(1 + I/(α K_i)).

    Source: as `competitive_inhibition`.

    >>> import torch
    >>> z = torch.tensor([10.0, 1.0, 2.0, 1.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    >>> float(noncompetitive_inhibition().rate(z))
    1.25
    """
    name, top = "noncompetitive_inhibition", "E S K_i k_cat alpha"
    return _inhibition(name, top, "alpha Km K_i", "alpha Km I", "alpha S K_i", "S I")


@cache
def uncompetitive_inhibition() -> Law:
    """Inhibitor that binds only the enzyme with substrate: v = k_cat E S/(Km + S (1 + I/K_i)).

    Slots: k_cat (1/s), Km, K_i (µM), E, S, I (µM). The flux is at most k_cat E/(1 + I/K_i).

    Source: as `competitive_inhibition`.

    >>> import torch
    >>> z = torch.tensor([10.0, 3.0, 2.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    >>> float(uncompetitive_inhibition().rate(z))
    1.0
    """
    return _inhibition("uncompetitive_inhibition", "E S K_i k_cat", "Km K_i", "S K_i", "S I")


@cache
def modular(substrates: tuple[int, ...], products: tuple[int, ...]) -> Law:
    """Common modular rate law: reversible saturation with any number of substrates and products.

    v = E k_cat (Π_i s_i^m_i − Π_j p_j^n_j/K_eq) / (D Π_i K_si^m_i),
    D = Π_i (1 + s_i/K_si)^m_i + Π_j (1 + p_j/K_pj)^n_j − 1.

    Slots: k_cat (1/s, forward), K_eq (µM^(Σn−Σm)), K_s1, ..., K_p1, ... (µM), E, s1, ..., p1, ... (µM). The
    flux is zero at equilibrium, Π p^n = K_eq Π s^m, and lies between −k_r E and k_cat E, with the backward
    turnover k_r = k_cat Π K_p^n/(K_eq Π K_s^m) of the Haldane relation. Substrates bind in any order and
    without regard to each other; substrates and products exclude each other.

    Args:
        substrates: stoichiometry m_i of every substrate, for example (1, 2).
        products: stoichiometry n_j of every product.

    Source: W. Liebermeister, J. Uhlendorf and E. Klipp, Bioinformatics 26:1528, 2010,
    doi:10.1093/bioinformatics/btq141 (common modular rate law).

    >>> import torch
    >>> modular((1,), (1,)).slots
    ('k_cat', 'K_eq', 'K_s1', 'K_p1', 'E', 's1', 'p1')
    """
    s = [f"s{i + 1}" for i in range(len(substrates))]
    p = [f"p{j + 1}" for j in range(len(products))]
    order = dict(zip(s + p, substrates + products, strict=True))
    slots = ("k_cat", "K_eq", *(f"K_{x}" for x in s + p), "E", *s, *p)
    sums = [f"K_{x}+{x}" for x in s + p]
    words = (*slots, *sums)

    def power(pattern: str, names: list[str]) -> str:
        return " ".join(pattern.format(x) for x in names for _ in range(order[x]))

    K_s, K_p = power("K_{0}", s), power("K_{0}", p)
    top = polynomial(words, f"K_eq {power('{0}', s)} {K_p} E k_cat", f"- {power('{0}', p)} {K_p} E k_cat")
    bottom = polynomial(
        words,
        f"K_eq {power('K_{0}+{0}', s)} {K_p}",
        f"K_eq {K_s} {power('K_{0}+{0}', p)}",
        f"- K_eq {K_s} {K_p}",
    )
    pairs = tuple((slots.index(f"K_{x}"), slots.index(x)) for x in s + p)
    return law_of("modular", slots, Extended(Ratio(top, bottom), pairs))


def _inhibition(name: str, top: str, *bottom: str) -> Law:
    """Michaelis–Menten with an inhibitor, from numerator and denominator."""
    alpha = ("alpha",) if "alpha" in top else ()
    slots = ("k_cat", "Km", "K_i", *alpha, "E", "S", "I")
    return law_of(name, slots, Ratio(polynomial(slots, top), polynomial(slots, *bottom)))


LAWS = {
    "michaelis_menten": michaelis_menten,
    "reversible_michaelis_menten": reversible_michaelis_menten,
    "competitive_inhibition": competitive_inhibition,
    "noncompetitive_inhibition": noncompetitive_inhibition,
    "uncompetitive_inhibition": uncompetitive_inhibition,
    "modular": modular,
}
