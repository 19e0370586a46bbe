"""A variational autoencoder of counts without a network, in plain PyTorch: the yardstick of speed."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, softplus

from multiscale.data.cells import CellBatch, Loader

__all__ = ["VAE", "train_epoch"]

EPS = 1e-8
"""Added within logarithms of means in [0, ∞) that a softmax may round to zero."""


class VAE(nn.Module):
    """Counts of genes and of antibodies from one latent state per cell.

    Genes are negative binomial about depth · share, one dispersion per gene; antibodies are mixtures of
    background and foreground, one dispersion per antibody. Normalisation, widths and likelihoods are those of
    scVI and totalVI; depth is the total count and no dropout is applied.

    Args:
        genes: number of them.
        proteins: number of antibodies.
        batches: number of them.
        latent: dimensions of the state.
        hidden: width.
        layers: hidden layers of the encoder.

    Source: Lopez et al. 2018, doi:10.1038/s41592-018-0229-2; Gayoso et al. 2021,
    doi:10.1038/s41592-020-01050-x.
    """

    def __init__(
        self, genes: int, proteins: int, batches: int, latent: int = 10, hidden: int = 128, layers: int = 1
    ) -> None:
        super().__init__()
        self.batches = batches
        sizes = [genes + proteins + batches, *[hidden] * layers]
        self.encoder = nn.Sequential(*(_layer(a, b) for a, b in pairwise(sizes)))
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.decoder = _layer(latent + batches, hidden)
        self.share = nn.Linear(hidden, genes)
        self.protein = nn.Linear(hidden, 3 * proteins)
        self.ln_dispersion = nn.Parameter(torch.zeros(genes))
        self.protein_ln_dispersion = nn.Parameter(torch.full((proteins,), 1.0))

    def forward(self, counts: Tensor, proteins: Tensor, batch: Tensor) -> Tensor:
        """Negative evidence lower bound of every cell for one draw, nats, shape (cell,)."""
        labels = one_hot(batch, self.batches).to(counts.dtype)
        hidden = self.encoder(torch.cat([counts.log1p(), proteins.log1p(), labels], 1))
        mean, ln_sd = self.posterior(hidden).chunk(2, 1)
        z = mean + ln_sd.exp() * torch.randn_like(mean)
        hidden = self.decoder(torch.cat([z, labels], 1))
        depth = counts.sum(1, keepdim=True)
        of_genes = ln_negative_binomial(counts, depth * self.share(hidden).softmax(1), self.ln_dispersion)
        kl = 0.5 * (mean**2 + (2 * ln_sd).exp() - 1) - ln_sd
        return kl.sum(1) - of_genes.sum(1) - self._of_proteins(proteins, hidden).sum(1)

    def _of_proteins(self, counts: Tensor, hidden: Tensor) -> Tensor:
        ln_background, above, ln_odds = self.protein(hidden).chunk(3, 1)
        background, r = ln_background.exp(), self.protein_ln_dispersion
        alone = ln_negative_binomial(counts, background, r) - softplus(-ln_odds)
        both = ln_negative_binomial(counts, background * (1 + softplus(above)), r) - softplus(ln_odds)
        return torch.logaddexp(alone, both)


def ln_negative_binomial(y: Tensor, mean: Tensor, ln_r: Tensor) -> Tensor:
    """Log probability of counts with variance m + m²/r, term by term, nats."""
    r = ln_r.exp()
    ln_sum = (mean + r + EPS).log()
    of_counts = torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1)
    return of_counts + r * (ln_r - ln_sum) + y * ((mean + EPS).log() - ln_sum)


def train_epoch(model: VAE, loader: Loader, learning_rate: float = 1e-3) -> float:
    """One pass through all cells; several processes sum their gradients.

    Returns:
        mean negative bound of this process's cells, nats.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    total = seen = 0.0
    for batch in loader.epoch(0):
        optimiser.zero_grad(set_to_none=True)
        loss = _sum(model, batch)
        (loss / batch.total).backward()
        if loader.world > 1:
            _sum_gradients(model)
        optimiser.step()
        total, seen = total + float(loss.detach()), seen + len(batch.index)
    return total / max(seen, 1.0)


def _layer(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after, eps=1e-3, momentum=0.01), nn.ReLU())


def _sum(model: VAE, batch: CellBatch) -> Tensor:
    """Negative bound of some cells; a process may have none, or one, which batch norm refuses."""
    if len(batch.index) < 2:
        return torch.stack([part.sum() for part in model.parameters()]).sum() * 0.0
    return model(batch.values["rna"], batch.values["protein"], batch.batch).sum()


def _sum_gradients(model: VAE) -> None:
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for parameter, piece in zip(model.parameters(), pieces, strict=True):
        parameter.grad = piece.view_as(parameter)
