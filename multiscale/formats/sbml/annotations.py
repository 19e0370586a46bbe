"""What SBML has no attribute for: notes for people, and annotations for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

__all__ = ["NAMESPACE", "Mark", "mark_xml"]

NAMESPACE = "urn:multiscale:sbml:1"
"""Namespace of the library's own annotations."""

_RDF = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    ' xmlns:bqbiol="http://biomodels.net/biology-qualifiers/"'
    ' xmlns:bqmodel="http://biomodels.net/model-qualifiers/"'
)


@dataclass(frozen=True)
class Mark:
    """Notes and annotation of one element.

    Args:
        notes: paragraphs for people.
        content: what the library wants to find again, by name.
        dois: publications that the element is described by.
    """

    notes: tuple[str, ...] = ()
    content: Mapping[str, str] = field(default_factory=dict)
    dois: tuple[str, ...] = ()


def mark_xml(mark: Mark, metaid: str, *, model: bool = False) -> str:
    """Notes and annotation of an element, in the order that SBML asks for.

    Args:
        mark: what to write.
        metaid: of the element; an annotation with publications needs it.
        model: whether the element is the model, which has qualifiers of its own.
    """
    text = ""
    if mark.notes:
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in mark.notes)
        text += f'<notes><body xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</body></notes>'
    own = "".join(f" {key}={quoteattr(value)}" for key, value in mark.content.items())
    inside = f'<multiscale:content xmlns:multiscale="{NAMESPACE}"{own}/>' if own else ""
    if mark.dois:
        inside += _described_by(mark.dois, metaid, "bqmodel" if model else "bqbiol")
    return text + (f"<annotation>{inside}</annotation>" if inside else "")


def _described_by(dois: tuple[str, ...], metaid: str, qualifier: str) -> str:
    """Publications as RDF (Le Novère et al. 2005, doi 10.1038/nbt1156)."""
    rows = "".join(f"<rdf:li rdf:resource={quoteattr(f'https://doi.org/{doi}')}/>" for doi in dois)
    bag = f"<{qualifier}:isDescribedBy><rdf:Bag>{rows}</rdf:Bag></{qualifier}:isDescribedBy>"
    return f'<rdf:RDF {_RDF}><rdf:Description rdf:about="#{metaid}">{bag}</rdf:Description></rdf:RDF>'
