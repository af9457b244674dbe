"""What methods share that learn from a look ahead: a network, and a few images with true labels beside every batch."""

import itertools
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook

from labelnoise.training.learner import Learner
from labelnoise.training.method import Feed, Method, Setup


class LookingAhead(Method):
    """A method with one network and trusted images, which says how a virtual step changes the loss on these.

    Raises:
        ValueError: there are no trusted images.
    """

    def __init__(self, setup: Setup, name: str) -> None:
        super().__init__(setup)
        if setup.train.trusted is None:
            raise ValueError(f"num_trusted=0: method={name} needs images with true labels, such as num_trusted=100")
        self.trusted = setup.train.trusted
        self.learner = setup.make_learner()

    def feeds(self) -> list[Feed]:
        return self.beside_trusted("train")

    def beside_trusted(self, *step: str | int) -> list[Feed]:
        """Every image once, each batch with a batch of trusted images; these are cycled through."""
        trusted = itertools.cycle(self.trusted.order(self.clock.batch_size))
        return [Feed(feed.step, {**feed.index, "trusted": next(trusted)}) for feed in self.every_image(*step)]

    def slope(
        self,
        feed: Feed,
        images: Tensor,
        logits: Tensor,
        given: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        rate: float | Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """How the trusted images' loss after a virtual step changes with `given`, and that loss.

        With z the logits, J their derivative in the weights, and v the trusted loss's gradient after the step, it is
        the slope of -rate (dL/dz) . (J v): one forward differentiation, and no second derivative of the network.
        Running statistics see neither pass.

        Shapes: (B, channels, H, W), (B, C), `given` -> as `given`, 0-d.
        Args:
            logits: of the batch, in training, with their graph.
            loss: `(logits, given) -> 0-d`, on which the virtual step is.
            rate: of that step; None: the learning rate.
        """
        rate = self.learner.optimizer.param_groups[0]["lr"] if rate is None else rate
        z = logits.detach().to(torch.promote_types(logits.dtype, torch.float32)).requires_grad_()
        given = given.detach().requires_grad_()
        (at_logits,) = torch.autograd.grad(loss(z, given), z, create_graph=True)
        step = (at_logits.detach().to(logits.dtype) * logits).sum()
        ahead = self.learner.lookahead(step, rate=rate, create_graph=False)
        trusted = self.trusted.batch(feed.index["trusted"])
        after = self.loss(self.learner(trusted.images, ahead), trusted.labels).mean()
        direction = torch.autograd.grad(after, list(ahead.values()))
        change = along(self.learner, images, dict(zip(ahead, direction, strict=True)))
        (slope,) = torch.autograd.grad((at_logits * change).sum(), given)
        return -rate * slope, after.detach()

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)


@torch.no_grad()
def along(learner: Learner, images: Tensor, direction: dict[str, Tensor]) -> Tensor:
    """How the logits in training change along a direction of the weights, by forward differentiation, without a graph.

    Running statistics do not see the images.

    Shapes: (B, channels, H, W), by the weights' names -> (B, C).
    """
    quiet = warnings.catch_warnings(action="ignore", category=FutureWarning)  # torch's, about its own jit
    hook = register_module_forward_hook(_in_its_precision)
    try:
        with quiet, sdpa_kernel(SDPBackend.MATH), dual_level():  # the other kernels have no forward derivative
            named = learner.network.named_parameters()
            dual = {name: make_dual(weight.detach(), direction[name]) for name, weight in named}
            return cast(Tensor, unpack_dual(learner(images, dual)).tangent)
    finally:
        hook.remove()


def _in_its_precision(module: object, inputs: object, output: Any) -> Any:
    """The derivative in the output's precision: batch normalisation in bfloat16 gives it in float32."""
    if not isinstance(output, Tensor):
        return output
    value, change = unpack_dual(output)
    return output if change is None or change.dtype == value.dtype else make_dual(value, change.to(value.dtype))
