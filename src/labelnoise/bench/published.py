"""The published code's training step, the benchmark's reference.

torchvision's transforms on PIL images, a DataLoader with as many workers as there are cores, float32, NCHW, eager
PyTorch, SGD as given, gradient clipping, and `.item()` in every step. Nothing is slowed down or tuned: it is what a
user of that code runs.
"""

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Pictures(Dataset):
    """Images as PIL pictures with their labels, transformed one at a time."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Any) -> None:
        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy().squeeze()
        self.labels, self.transform = labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(np.asarray(self.pixels[index]))), self.labels[index]


def transform(size: int, mean: tuple[float, ...], std: tuple[float, ...], augment: dict[str, Any] | None) -> Any:
    """RandomCrop, RandomHorizontalFlip and RandomRotation as the data set's configuration asks, ToTensor, Normalize."""
    steps: list[Any] = []
    if augment is not None:
        steps.append(transforms.RandomCrop(size, padding=augment["padding"]))
        steps += [transforms.RandomHorizontalFlip()] if augment["flip"] else []
        steps += [transforms.RandomRotation(augment["degrees"])] if augment["degrees"] else []
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])


def loader(pictures: Pictures, batch_size: int) -> DataLoader:
    """Shuffled batches from as many workers as this process may use cores."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # The platform's own way to start workers. A process that was itself spawned, as this one, would spawn them too, one
    # after the other, each with a copy of the images through a pipe: minutes on a machine of 16 cores.
    start = multiprocessing.get_all_start_methods()[0]
    return DataLoader(
        pictures, batch_size, shuffle=True, num_workers=workers, persistent_workers=True, multiprocessing_context=start
    )


def train_steps(
    batches: Iterator[tuple[Tensor, Tensor]],
    count: int,
    network: nn.Module,
    loss: Any,
    optimizer: torch.optim.Optimizer,
    clip_norm: float | None,
    device: torch.device,
) -> None:
    """`count` training steps."""
    network.train()
    for _ in range(count):
        images, labels = next(batches)
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        value = loss(network(images), labels).mean()
        value.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        value.item()  # waits for the device after every step, as that code does to sum up its loss


@torch.no_grad()
def evaluate(network: nn.Module, batches: DataLoader, device: torch.device) -> float:
    """Accuracy over the batches."""
    network.eval()
    right = seen = 0
    for images, labels in batches:
        predicted = network(images.to(device)).argmax(dim=1).cpu()
        right, seen = right + int((predicted == labels).sum()), seen + len(labels)
    return right / seen
