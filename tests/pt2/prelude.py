"""Seeded values, and never constant ones; this text stands at the head of each generated program."""
import torch
from torch import nn
import torch.nn.functional as F

G = torch.Generator()


def normal(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=G, dtype=dtype)


def whole(*shape, dtype=torch.int64):
    return torch.randint(-9, 10, shape, generator=G).to(dtype)


def truth(*shape):
    return torch.rand(shape, generator=G) < 0.5


def positive(*shape):
    return torch.rand(shape, generator=G) + 0.5


def filled(module):
    with torch.no_grad():
        for name, t in [*module.named_parameters(), *module.named_buffers()]:
            if t.is_floating_point():
                t.copy_(positive(*t.shape) if "var" in name else normal(*t.shape))
    return module
