"""Permanent cases of the `.pt2` reader: small programs, each with one hazard of views, writes or state.

A case is a class: the docstring names the hazard, `given` makes its inputs, `hold` its state. `write_cases.py` makes the files.
"""
import torch
import torch.nn.functional as F
from torch import nn

from prelude import G, filled, normal, positive, truth, whole


class Case(nn.Module):
    given: tuple = ()

    def __init__(self):
        super().__init__()
        G.manual_seed(1)
        self.hold()

    def hold(self):
        """Registers state."""

    @classmethod
    def inputs(cls, call=0):
        G.manual_seed(2 + call)
        return tuple(make() for make in cls.given)


# ---- windows and strides ----
class GappedUnfold(Case):
    """pytorch#198102: a write through windows that leave gaps must keep what lies in the gaps."""
    given = (lambda: normal(24),)
    def forward(self, x):
        y = x.clone(); w = y.unfold(0, 2, 3); w.mul_(3)
        return y, w


class GappedUnfoldOfInput(Case):
    """The same on the caller's own tensor, along an inner dimension."""
    given = (lambda: normal(3, 7),)
    def forward(self, x):
        x.unfold(1, 2, 3).add_(1)
        return x.sum(1)


class OverlappingWindowsRead(Case):
    """Overlapping windows are read after the base changed."""
    given = (lambda: normal(8),)
    def forward(self, x):
        y = x * 2; w = y.unfold(0, 3, 1); before = w.sum(1); y[2:5].neg_()
        return before, w * 1.0


class FillOfOverlappingWindows(Case):
    """Overlapping windows may be filled, as every order gives the same."""
    given = (lambda: normal(9),)
    def forward(self, x):
        y = x.clone(); y[1:].unfold(0, 3, 2).fill_(0.5)
        return y


class AsStridedWrite(Case):
    """A view with an offset and strides of its own, on a storage known by another view."""
    given = (lambda: normal(4, 6),)
    def forward(self, x):
        y = x.clone(); row = y[1]; y.as_strided((3, 2), (5, 2), 3).mul_(-2)
        return y, row + 0


class AsStridedOfSameShape(Case):
    """A view of the storage with the shape of the view it is taken of."""
    def hold(self):
        self.register_buffer("b", normal(3, 3).diagonal())
    given = (lambda: normal(3),)
    def forward(self, x):
        v = self.b.as_strided((3,), (1,), 4); v *= x
        return x + v


class Diagonals(Case):
    """Two diagonals of one matrix are written, the matrix is read."""
    given = (lambda: normal(4, 5),)
    def forward(self, x):
        y = x.clone(); y.diagonal().zero_(); y.diagonal(1).add_(y.diagonal(-1)[:1])
        return y


class StridedHalves(Case):
    """Even elements are written from odd ones of the same storage: the strides keep them apart."""
    given = (lambda: normal(5, 6),)
    def forward(self, x):
        y = x + 1; y[:, ::2].add_(y[:, 1::2])
        return y


class StepsOfSteps(Case):
    """Slices with steps of slices with steps, of a transpose."""
    given = (lambda: normal(7, 9),)
    def forward(self, x):
        y = x.clone(); v = y.t()[1::2][:, ::3]; v[1:3].copy_(v[:2].clone())
        return y


class EmptyViews(Case):
    """Writes to empty slices do nothing, and are allowed."""
    given = (lambda: normal(4, 3), lambda: normal(0, 3))
    def forward(self, x, e):
        y = x.clone(); y[2:2].add_(1); y[:, 5:].zero_(); e.mul_(2)
        return y, torch.cat([y, e]), e.sum(0)


# ---- inputs and outputs that alias ----
class TurnedInput(Case):
    """A transposed input is written through views, and its `reshape` is a copy."""
    given = (lambda: normal(4, 3).t(),)
    def forward(self, x):
        y = x.reshape(-1); y.add_(7); x.t()[0].add_(5); x[:, 1].mul_(2)
        return x, y


class ChannelsLastInput(Case):
    """An input in channels last; what is made of it is too, and flattening copies."""
    given = (lambda: normal(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),)
    def forward(self, x):
        y = x * 2; z = y.flatten(1); z.neg_(); x[:, 0].mul_(3)
        return x, y, z


class InputWithGaps(Case):
    """A part of a larger tensor as an input."""
    given = (lambda: normal(4, 6)[:, 1:4], lambda: normal(9)[::2])
    def forward(self, x, v):
        y = x.reshape(12); y.mul_(2); x[1:].sub_(1); w = v.reshape(5); w.add_(1)
        return x, y, v * 2


class ExpandedInput(Case):
    """An input whose elements repeat: flattening copies it."""
    given = (lambda: normal(3, 1).expand(3, 4), lambda: normal(8).unfold(0, 3, 1))
    def forward(self, x, w):
        y = x.reshape(-1); y.add_(1); z = w.flatten(); z.mul_(2)
        return y, z, x * 1, w + 0


class LayoutsOfTheTrace(Case):
    """`batch_norm` and `roll` lie otherwise than the trace says: whether flattening copies is eager PyTorch's to say."""
    given = (lambda: normal(2, 3, 4).transpose(0, 2), lambda: normal(2, 3, 2, 2).contiguous(memory_format=torch.channels_last))
    def hold(self):
        self.register_buffer("mean", normal(3)); self.register_buffer("var", positive(3))
    def forward(self, x, c):
        y = F.batch_norm(x, self.mean, self.var); flat = y.reshape(-1); flat.add_(1)
        r = c.roll(1, 1); rows = r.flatten(1); rows.mul_(2)
        return y, flat, r, rows


class MutatesInput(Case):
    """pytorch#139789: exported for two tensors, called with one and a view of it."""
    given = (lambda: normal(3, 4), lambda: normal(3, 4))
    def forward(self, x, y):
        z = y.sin(); x.add_(1)
        return z + y, x * 2


class ViewsOfInput(Case):
    """The caller's tensor is written through a flat view, then through a transpose."""
    given = (lambda: normal(4, 6),)
    def forward(self, x):
        x.view(-1)[2:5].add_(1); x.t().mul_(2)
        return x.sum(0)


class ReturnsItsInput(Case):
    """Outputs that are the input and a view of it have the values at the end, not those when the view was made."""
    given = (lambda: normal(3, 4),)
    def forward(self, x):
        y = x.t(); z = x * 1; x.add_(1)
        return y, x, z


class OutputsAlias(Case):
    """Outputs that share a storage, one of them twice."""
    given = (lambda: normal(6),)
    def forward(self, x):
        a = x + 1; b = a[1:4]; b.neg_()
        return a, b, a


class OneOfTwoInputs(Case):
    """A later write to one input must not reach an earlier reader."""
    given = (lambda: normal(3, 4), lambda: normal(3, 4))
    def forward(self, x, y):
        early = x.sin() + y; x.copy_(y); x[0] = 0.5
        return early, x * y


class MaybeACopy(Case):
    """`reshape` of a transpose is a copy, of the tensor itself a view; likewise `contiguous` and `to`."""
    given = (lambda: normal(3, 4),)
    def forward(self, x):
        a = x.clone(); b = a.reshape(-1); c = a.t().reshape(-1); d = a.contiguous(); e = a.t().contiguous(); f = a.to(torch.float32); g = a.to(torch.float64)
        b.add_(1); c.mul_(3); d.neg_(); e.zero_(); f.mul_(0.5); g.add_(7)
        return a, c, e, g


class LayoutOfResults(Case):
    """An elementwise result keeps the layout of its operand, so that a flat view of its transpose is a view."""
    given = (lambda: normal(3, 4),)
    def forward(self, x):
        y = x.t() * 2; flat = y.t().view(-1); copy = y.reshape(-1); flat.add_(1); copy.zero_(); like = torch.empty_like(y).copy_(x.t())
        like.t().view(-1).mul_(3)
        return y, flat, copy, like


class ChannelsLast(Case):
    """A clone in channels-last order is flat in that order only."""
    given = (lambda: normal(2, 3, 2, 2),)
    def forward(self, x):
        y = x.clone(memory_format=torch.channels_last); y.permute(0, 2, 3, 1).view(2, -1)[:, 3:6].zero_(); r = y.reshape(2, -1); r.add_(1)
        return y, r


class SilentAliases(Case):
    """`detach`, `dropout` outside of training and `expand` give views; a write shows in all of them."""
    given = (lambda: normal(1, 4),)
    def forward(self, x):
        y = x * 2; d = y.detach(); p = F.dropout(y, 0.5, False); e = y.expand(3, -1); d.add_(1); p.mul_(2)
        return y, e * 1.0, e.sum(0)


class ScalarViews(Case):
    """Elements as views of no dimension, and a sum that is one."""
    given = (lambda: normal(3, 3),)
    def forward(self, x):
        y = x.clone(); s = y.sum(); y[1, 2].add_(s); y[0, 0] = y[2, 2]; s.mul_(2)
        return y, s


class ChangedShape(Case):
    """The shape of a value is changed in place, then the value is written."""
    given = (lambda: normal(2, 3),)
    def forward(self, x):
        y = x + 0.5; v = y.view(-1); y.t_(); y.unsqueeze_(0); y[:, 1].mul_(4)
        return y, v


# ---- source and destination share a storage ----
class ShiftOfItself(Case):
    """Rows move down by one in their own storage."""
    given = (lambda: normal(5, 3),)
    def forward(self, x):
        x[1:].copy_(x[:-1].clone()); x[0].zero_()
        return x * 1


class SwapRows(Case):
    """Two rows change places by an assignment with lists."""
    given = (lambda: normal(4, 3),)
    def forward(self, x):
        y = x.clone(); y[[0, 2]] = y[[2, 0]]
        return y


class SwapHalves(Case):
    """Two halves change places by way of a copy of one."""
    given = (lambda: normal(2, 5),)
    def forward(self, x):
        y = x * 1; a, b = y.unbind(0); keep = a.clone(); a.copy_(b); b.copy_(keep)
        return y


class TransposeOntoItself(Case):
    """A matrix gets its own transpose, copied first, and the sum with it."""
    given = (lambda: normal(4, 4), lambda: normal(3, 3))
    def forward(self, x, y):
        x.copy_(x.t().clone()); y.add_(y.t().clone())
        return x @ x.t(), y


class FlipOntoItself(Case):
    """A copy of what `flip` and `roll` make of the destination."""
    given = (lambda: normal(4, 5),)
    def forward(self, x):
        y = x.clone(); y.copy_(y.flip(0)); y[1:3].copy_(y[1:3].roll(2, 1))
        return y


class SelfOperand(Case):
    """The destination is its own operand, exactly and as a broadcast of a part that is not written."""
    given = (lambda: normal(4, 3),)
    def forward(self, x):
        y = x.clone(); y.mul_(y); y[1:].sub_(y[:1]); y.addcmul_(y, y, value=0.5)
        return y


class ScatterOfItself(Case):
    """`scatter_` and `index_copy_` whose source is a copy of the destination."""
    given = (lambda: normal(3, 4),)
    def forward(self, x):
        y = x.clone(); y.scatter_(0, torch.tensor([[2, 0, 1, 1], [0, 1, 2, 0]]), y.clone()); y.index_copy_(1, torch.tensor([3, 0]), y[:, :2] * 2)
        return y


# ---- writes by index ----
class Masks(Case):
    """Assignments by masks: of all elements, of rows, and one that broadcasts."""
    given = (lambda: normal(4, 3), lambda: truth(3))
    def forward(self, x, m):
        y = x.clone(); y[y > 0.5] = -1.0; y[torch.tensor([True, False, False, True])] = x[1]; y.t().masked_fill_(m[:, None], 3.0)
        return y


class IndexedAssignments(Case):
    """Assignments with an integer and a list, a tensor and a slice, and two tensors, on a transpose."""
    given = (lambda: normal(4, 5),)
    def forward(self, x):
        y = x.clone(); t = y.t(); t[0, [3, 1]] = 0.5; t[torch.tensor([4, 2]), 1:3] = x[:2, :2]; t[torch.tensor([1, 3]), torch.tensor([0, 2])] = x[0, :2]
        return y


class Accumulate(Case):
    """Repeated indices add up, in `index_put_`, `index_add_` and `scatter_add_`."""
    given = (lambda: normal(4, 3), lambda: normal(5, 3))
    def forward(self, x, v):
        i = torch.tensor([1, 3, 1, 0, 1]); a, b, c = x.clone(), x.clone(), x.clone()
        a.index_put_((i,), v, accumulate=True); b.t().index_add_(1, i, v.t()); c.scatter_add_(0, i[:, None].expand(5, 3), v)
        return a, b, c


class IndexFromInput(Case):
    """Positions that come with the input, into a slice of the caller's own tensor."""
    given = (lambda: normal(6, 3), lambda: torch.randperm(4, generator=G)[:2], lambda: normal(2, 3))
    def forward(self, x, i, v):
        x[1:5].index_copy_(0, i, v); x[1:5].index_fill_(0, i[:1], 9.0)
        return x[i], x.gather(0, i[:, None].expand(-1, 3))


# ---- parts and loops ----
class Chunks(Case):
    """Parts of one tensor: one becomes the other, which is cleared afterwards."""
    given = (lambda: normal(3, 7),)
    def forward(self, x):
        y = x.clone(); a, b, c = y.split([3, 3, 1], 1); a.copy_(b); b.zero_(); first, *_ = y.tensor_split((2,), 1); first.add_(c)
        return y, torch.cat([b, a], 1)


class PrefixSums(Case):
    """Every row is written from the one that was written just before."""
    given = (lambda: normal(5, 3),)
    def forward(self, x):
        for i in range(1, x.shape[0]): x[i].add_(x[i - 1])
        return x[-1]


class OverlappingLoop(Case):
    """Overlapping windows are scaled one after another."""
    given = (lambda: normal(6),)
    def forward(self, x):
        y = x.clone()
        for i in range(4): y[i:i + 3].mul_(-0.5 - i)
        return y


class WindowPartition(Case):
    """Windows of an image as views of views, written, rolled and put back."""
    given = (lambda: normal(1, 4, 4, 2),)
    def forward(self, x):
        y = x.roll((-1, -1), (1, 2)); w = y.view(1, 2, 2, 2, 2, 2).permute(0, 1, 3, 2, 4, 5); w[0, 0, 1].add_(1); p = w.reshape(-1, 4, 2); p.mul_(2)
        return y, p.view(1, 2, 2, 2, 2, 2).permute(0, 1, 3, 2, 4, 5).reshape(1, 4, 4, 2)


class ResidualOfRelu(Case):
    """An activation in place and a residual connection: the sum reads what the activation wrote."""
    given = (lambda: normal(3, 4),)
    def hold(self): self.linear = filled(nn.Linear(4, 4)); self.relu = nn.ReLU(inplace=True)
    def forward(self, x):
        y = self.linear(x); z = self.relu(y[:, :2]); z.add_(x[:, 1:3])
        return self.linear(y) + y


class SortedThenWritten(Case):
    """The sorted values are a tensor of their own."""
    given = (lambda: normal(3, 5),)
    def forward(self, x):
        y = x.clone(); values, places = y.sort(dim=1); top, _ = y.topk(2); values.add_(1); y.zero_()
        return values, places, top, y


# ---- types ----
class DtypeViews(Case):
    """The bits of a storage seen as another type, of the same and of half the size."""
    given = (lambda: normal(3, 4), lambda: normal(2, 2, dtype=torch.float64))
    def forward(self, x, d):
        y = x.clone(); bits = y.view(torch.int32); bits[0] = bits[2]; halves = d.view(torch.int32); kept = halves[:, ::2] * 1; halves[0].copy_(halves[1])
        return y, bits, kept, d


class ConvertingWrites(Case):
    """The destination decides the type: floats are cut into integers, doubles rounded, truth becomes one."""
    given = (lambda: normal(2, 3), lambda: whole(2, 3), lambda: normal(2, 3, dtype=torch.float64), lambda: truth(2, 3))
    def forward(self, f, i, d, m):
        a = i.clone(); a.copy_(f * 3); a.add_(m); b = f.clone(); b.mul_(d); b[0] = i[1]; c = m.clone(); c.copy_(i); e = d + f; e.sub_(i)
        return a, b, c, e, i + 0.5, m * i


# ---- state ----
class KvCache(Case):
    """A cache is updated in its own bytes and read whole; a counter goes with it."""
    given = (lambda: normal(2, 2, 3),)
    def hold(self): self.register_buffer("cache", normal(2, 6, 3)); self.register_buffer("steps", whole(1))
    def forward(self, kv):
        self.cache[:, 2:4].copy_(kv); self.steps.add_(1)
        return self.cache.mean(1) + self.steps, self.cache[:, :3]


class CacheAtPositions(Case):
    """A cache is written at positions that come with the input."""
    given = (lambda: normal(2, 2, 3), lambda: torch.randperm(6, generator=G)[:2])
    def hold(self): self.register_buffer("keys", normal(2, 6, 3))
    def forward(self, k, at):
        self.keys.index_copy_(1, at, k); self.keys[:, at] *= 2
        return self.keys.sum(1)


class RingBuffer(Case):
    """A history moves by one in its own storage at each call."""
    given = (lambda: normal(3),)
    def hold(self): self.register_buffer("history", normal(4, 3))
    def forward(self, x):
        oldest = self.history[0].clone(); self.history.copy_(self.history.roll(-1, 0)); self.history[-1] = x
        return oldest, self.history


class SharedBuffers(Case):
    """Buffers that are views of one storage: a write through one is read through the others."""
    given = (lambda: normal(4, 6),)
    def hold(self): base = normal(4, 6); self.register_buffer("whole", base); self.register_buffer("part", base[1:3, ::2]); self.register_buffer("turned", base.t())
    def forward(self, x):
        before = self.turned.sum(); self.part.mul_(2); self.turned[0].add_(1)
        return before, self.whole + x


class BufferAndParameter(Case):
    """A buffer and a parameter share a storage."""
    given = (lambda: normal(2, 3),)
    def hold(self): base = normal(3, 4); self.weight = nn.Parameter(base); self.register_buffer("row", base[1])
    def forward(self, x):
        y = x @ self.weight; self.row.neg_()
        return y, x @ self.weight


class TiedAndStrided(Case):
    """Weights that are tied, and weights that are strided views of one storage."""
    given = (lambda: torch.randint(0, 5, (3,), generator=G), lambda: normal(2, 4))
    def hold(self):
        base = normal(6, 6); self.a = nn.Parameter(base[1:5, ::2]); self.b = nn.Parameter(base.t())
        self.embedding = filled(nn.Embedding(5, 4)); self.head = nn.Linear(4, 5, bias=False); self.head.weight = self.embedding.weight
    def forward(self, i, x): return self.head(self.embedding(i)), x @ self.a @ self.b[:3, :3]


class WrittenTiedWeight(Case):
    """A tied weight is written under one of its names."""
    given = (lambda: torch.randint(0, 5, (3,), generator=G),)
    def hold(self): self.embedding = filled(nn.Embedding(5, 4)); self.head = nn.Linear(4, 5, bias=False); self.head.weight = self.embedding.weight
    def forward(self, i):
        e = self.embedding(i); self.head.weight[1:3].mul_(0.5)
        return self.head(e), self.embedding(i)


class NotPersistent(Case):
    """A buffer that is no part of the saved state is written all the same."""
    given = (lambda: normal(3),)
    def hold(self): self.register_buffer("scratch", normal(3), persistent=False)
    def forward(self, x):
        self.scratch.add_(x)
        return self.scratch * 2


class FreshConstant(Case):
    """A literal is new at each call, although it is written."""
    given = (lambda: normal(3),)
    def forward(self, x):
        c = torch.tensor([1.0, -2.0, 3.0]); c.add_(x); z = torch.zeros(3); z[1:].copy_(c[:2])
        return c, z


class MovingAverage(Case):
    """A moving average by `lerp_`, and one by `mul_` and `add_`, read before and after."""
    given = (lambda: normal(3),)
    def hold(self): self.register_buffer("first", normal(3)); self.register_buffer("second", normal(3))
    def forward(self, x):
        old = self.first * 1; self.first.lerp_(x, 0.1); self.second.mul_(0.9).add_(x, alpha=0.1)
        return old, self.first - self.second


class OptimizerStep(Case):
    """A step with momentum on a parameter, in place, after the parameter was used."""
    given = (lambda: normal(3, 2), lambda: normal(2, 4))
    def hold(self): self.weight = nn.Parameter(normal(3, 4)); self.register_buffer("momentum", normal(3, 4))
    def forward(self, x, y):
        loss = (self.weight - x @ y).square().mean(); self.momentum.mul_(0.9).add_(x @ y); self.weight.sub_(self.momentum, alpha=0.01)
        return loss


class RecurrentState(Case):
    """A hidden state that is both operand and result of its own update."""
    given = (lambda: normal(2, 3),)
    def hold(self): self.register_buffer("h", normal(2, 4)); self.w = filled(nn.Linear(7, 4))
    def forward(self, x):
        self.h.copy_(torch.tanh(self.w(torch.cat([x, self.h], 1))))
        return self.h


class BatchNormModule(Case):
    """Batch norm in training writes its statistics, and counts."""
    given = (lambda: normal(4, 3, 2),)
    def hold(self): self.norm = filled(nn.BatchNorm1d(3))
    def forward(self, x):
        before = self.norm.running_mean * 1; y = self.norm(x)
        return y, before, self.norm.running_mean + self.norm.running_var


class BatchNormOnViews(Case):
    """The statistics that batch norm writes are rows of one buffer: its schema says nothing of the write."""
    given = (lambda: normal(4, 3),)
    def hold(self): self.register_buffer("statistics", positive(2, 3))
    def forward(self, x):
        y = F.batch_norm(x, self.statistics[0], self.statistics[1], training=True, momentum=0.3)
        return y, self.statistics.sum(0), F.batch_norm(x, self.statistics[0], self.statistics[1])


# ---- control ----
class Condition(Case):
    """Both branches write copies of their operands; the operands are written before and after."""
    given = (lambda: normal(3), lambda: normal(3))
    def forward(self, p, x):
        x.add_(1); y = torch.cond(p.sum() > 0, lambda a: a.clone().mul_(2), lambda a: a.clone().sub_(3), (x,)); x.neg_()
        return y, x


class ConditionOnState(Case):
    """The branch is chosen by state that the call itself changes, and gets views of one storage."""
    given = (lambda: normal(4),)
    def hold(self): self.register_buffer("turn", torch.tensor([3])); self.register_buffer("b", normal(2, 4))
    def forward(self, x):
        self.turn.add_(1)
        y = torch.cond((self.turn % 2 == 0).any(), lambda a, c: a.clone().copy_(c), lambda a, c: a * 1 - c, (self.b[0], self.b[1])); self.b[0].copy_(x)
        return y

