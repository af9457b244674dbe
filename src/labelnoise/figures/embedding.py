"""t-SNE of the penultimate features of a saved network (save_model=true), by scikit-learn."""

from typing import TYPE_CHECKING, Any

from labelnoise.figures.style import COLOURS, COLUMN, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

BATCH = 500
PERPLEXITY = 30.0


def features(network: "nn.Module", images: "Tensor", mean: list[float], std: list[float]) -> "Tensor":
    """The input of the network's head. Shapes: (N, channels, H, W) uint8 -> (N, D) float32."""
    import torch

    from labelnoise.data.train_set import normalise, per_channel

    numbers = [per_channel(values, images[:1]) for values in (mean, std)]
    body: Any = network
    with torch.no_grad():
        parts = [body.features(normalise(part, *numbers)).float() for part in images.split(BATCH)]
    return torch.cat(parts)


def tsne(found: "Tensor", labels: "Tensor", classes: list[str]) -> "Figure":
    """Points in the plane, coloured by true class.

    Shapes: found (N, D), labels (N,).
    Source: van der Maaten, Hinton 2008 (JMLR 9), Visualizing Data using t-SNE.
    Raises:
        ValueError: fewer images than the perplexity needs.
    """
    from sklearn.manifold import TSNE

    if len(found) <= 3 * PERPLEXITY:
        raise ValueError(f"images={len(found)}: t-SNE needs more than {3 * PERPLEXITY:.0f} images")
    points = TSNE(perplexity=PERPLEXITY, init="pca", random_state=0).fit_transform(found.numpy())
    figure, (axis,) = panels(1, COLUMN, 2.6)
    for c, name in enumerate(classes):
        of_class = (labels == c).numpy()
        marker = "o" if c < len(COLOURS) else "^"
        style = {"color": COLOURS[c % len(COLOURS)], "marker": marker, "linewidths": 0}
        axis.scatter(*points[of_class].T, s=4, label=name, **style)
    axis.set(xticks=[], yticks=[])
    for side in ("left", "bottom"):
        axis.spines[side].set_visible(False)
    if len(classes) <= 20:
        figure.legend(loc="outside lower center", ncols=5, markerscale=2.5, handletextpad=0.1, columnspacing=0.8)
    return figure
