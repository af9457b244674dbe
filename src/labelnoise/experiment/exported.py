"""A saved network as a program that needs nothing of this package: torch.export (.pt2) and ONNX (.onnx).

Input: float images in [0, 1], (B, channels, H, W) for any B of at least 1. Output: the logits of the classes, (B, C).
Normalisation is part of the program, and outputs beyond those of the classes are left out.
"""

import io
import json

import torch
from torch import Tensor, nn

from labelnoise.data.train_set import per_channel
from labelnoise.experiment import saved_network
from labelnoise.experiment.saved_network import About, SavedNetwork

DESCRIPTION = "labelnoise.json"  # the name of the metadata in a .pt2 file


class Program(nn.Module):
    """Images in [0, 1] to the logits of the classes. Shapes: (B, channels, H, W) -> (B, C).

    Args:
        network: in evaluation mode, on the CPU.
        about: of its file.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, about: About) -> None:
        super().__init__()
        self.network, self._classes = network, len(about.classes)
        one = torch.empty(1, *about.shape)
        self.register_buffer("mean", per_channel(about.mean, one))
        self.register_buffer("std", per_channel(about.std, one))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - self.mean) / self.std)[:, : self._classes]


def program(saved: SavedNetwork, path: str) -> Program:
    """The network of a file, with normalisation. Args: path, the file's, for the message. Raises: as `build`."""
    return Program(saved_network.build(saved, path).requires_grad_(False), saved.about).eval()


def description(about: About) -> dict[str, str]:
    """What a file says of itself, as text: input, output, classes, network, run."""
    shape = " x ".join(map(str, about.shape))
    vectors = len(about.shape) == 1
    what = f"vectors, float32, B x {shape}" if vectors else f"images, float32, B x {shape}, in [0, 1] (pixels / 255)"
    return {
        "run_id": about.run_id,
        "network": json.dumps(about.network),
        "input": f"{what}; normalised inside",
        "output": "logits, float32, one for each class; softmax gives probabilities",
        "classes": json.dumps(about.classes),
        "mean": json.dumps(about.mean),
        "std": json.dumps(about.std),
    }


def _example(about: About) -> Tensor:
    """Two images: a batch of one would be taken for a constant."""
    return torch.rand(2, *about.shape)


def as_pt2(made: Program, about: About) -> bytes:
    """The content of a .pt2 file, for `torch.export.load`: a graph of torch's own operators."""
    file = io.BytesIO()
    graph = torch.export.export(made, (_example(about),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    torch.export.save(graph, file, extra_files={DESCRIPTION: json.dumps(description(about))})
    return file.getvalue()


def as_onnx(made: Program, about: About) -> bytes:
    """The content of an .onnx file.

    Raises:
        ValueError: the packages that write ONNX are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("ONNX needs more packages: pip install 'labelnoise[onnx]'") from None
    converted = torch.onnx.export(
        made,
        (_example(about),),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: "batch"},),
        input_names=["images"],
        output_names=["logits"],
    )
    assert converted is not None
    model = converted.model_proto
    for key, text in description(about).items():
        model.metadata_props.add(key=key, value=text)
    return model.SerializeToString()
