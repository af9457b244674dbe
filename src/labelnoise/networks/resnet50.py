"""torchvision's ResNet-50 for photographs (He et al. 2015, arXiv:1512.03385), with a pooled 7x7 stem."""

from torch import nn

from labelnoise.networks.base import Network


def resnet50(num_classes: int, channels: int, size: int, weights: str | None = None) -> Network:
    """ResNet-50: 23,610,482 parameters with 50 classes. The sides of its last feature map are 1/32 of the image's.

    Args:
        weights: torchvision's name of pretrained weights to download, such as IMAGENET1K_V1; None: none.
    Raises:
        ValueError: torchvision has no such weights, or the images do not have three channels.
    """
    from torchvision.models import ResNet50_Weights
    from torchvision.models import resnet50 as torchvisions

    if weights is not None and weights not in ResNet50_Weights.__members__:
        raise ValueError(f"network.weights={weights}: must be null or one of {', '.join(ResNet50_Weights.__members__)}")
    if weights is not None and channels != 3:
        raise ValueError(f"network.weights={weights}: are for three channels, and the images have {channels}")
    body = torchvisions(weights=weights, zero_init_residual=True)
    if channels != 3:
        body.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    body.fc = nn.Identity()
    return Network(body, nn.Linear(2048, num_classes))
