"""The set-up of a method for a training loop of one's own, from tensors and functions instead of a configuration."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from labelnoise.data.given_images import GivenImages
from labelnoise.losses import ce
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner, MakeNetwork, MakeOptimizer, Penalty, Schedule
from labelnoise.training.method import LossFunction, Setup
from labelnoise.training.schedules import constant


def make_setup(
    images: Tensor | Callable[[Tensor], Tensor],
    labels: Tensor,
    num_classes: int,
    network: Callable[[int], nn.Module],
    optimizer: MakeOptimizer,
    *,
    epochs: int,
    batch_size: int = 128,
    loss: LossFunction = ce,
    schedule: Schedule = constant,
    clip_norm: float | None = None,
    precision: torch.dtype = torch.float32,
    seed: int = 1,
    penalty: Penalty | None = None,
) -> Setup:
    """What a method is built from, such as `ELR(make_setup(...), lam=3.0, beta=0.7)`, without a configuration.

    All is on the labels' device. There are no trusted images, superclasses, strong views or true rate of the noise: a
    method that needs one of them refuses.

    Args:
        images: (N, ...), floating point, as the network takes them; or a function index (B,) -> (B, ...), called each
            time the method asks for images, which may augment them.
        labels: (N,), int64, noisy.
        network: number of outputs -> a new network; a method may ask for several, and for more outputs than classes.
        optimizer: parameters -> optimizer, such as `partial(torch.optim.SGD, lr=0.1)`.
        loss: `(logits (B, C), labels (B,)) -> (B,)`; `partial(agce, a=0.6, q=0.6)` of labelnoise.losses.
        schedule: `(epoch, epochs) -> factor` on the optimizer's learning rate.
        clip_norm: largest L2 norm of the whole gradient, or None.
        precision: of the network's arithmetic, float32 or bfloat16.
        seed: of the order of the images.
        penalty: `weights -> 0-d`, a regulariser of the weights that is added to every loss; or None.
    """

    our_network, our_optimizer, our_schedule = network, optimizer, schedule

    def make_learner(
        *,
        network: MakeNetwork | None = None,
        optimizer: MakeOptimizer | None = None,
        schedule: Schedule | None = None,
        extra_outputs: int = 0,
        during: range | None = None,
    ) -> Learner:
        if network is not None:
            raise ValueError("network: a method that brings networks of its own cannot be set up from tensors")
        made = lambda start: our_network(num_classes + extra_outputs)  # noqa: E731
        return Learner(
            made(0).to(labels.device),
            optimizer or our_optimizer,
            schedule or our_schedule,
            range(epochs) if during is None else during,
            clip_norm,
            precision,
            penalty=penalty,
            make_again=made,
        )

    taken = images.__getitem__ if isinstance(images, Tensor) else images
    generator = torch.Generator(labels.device).manual_seed(seed)
    train = GivenImages(taken, labels, num_classes, generator)
    return Setup(make_learner, loss, train, Clock(epochs, batch_size))
