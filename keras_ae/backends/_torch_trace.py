"""A training step's losses as a flat list of PyTorch's operations.

Keras finds out anew in each step what to call, which takes longer than a small layer computes. A step that has come
often enough is traced: later ones run the operations alone, on the same tensors in the same order.
"""

from collections import Counter

import keras
import torch
from torch.utils import _pytree as pytree

HOT = 100  # equal steps before one is traced: that takes a second or two
CLOSE = 1e-3  # of its norm: how far a gradient may be from that of the step itself. On a CPU they are the same


class TracedLosses:
    """`model.loss_terms` in training. One for each `fit`, so that what Python changes between two of them counts."""

    def __init__(self, model):
        self.model = model
        self.seen = Counter()
        self.traced = {}

    def __call__(self, *batch):
        """As `model.loss_terms(*batch, training=True)`."""
        model = self.model
        leaves, structure = pytree.tree_flatten(batch)
        variables = map(id, model.trainable_variables)
        key = (str(structure), *((leaf.shape, leaf.dtype) for leaf in leaves if leaf is not None), *variables)
        replay = self.traced.get(key)
        if replay is not None:
            return replay(leaves)
        self.seen[key] += 1
        if self.seen[key] != HOT:
            return model.loss_terms(*batch, training=True)
        before = [variable.value.clone() for variable in model.non_trainable_variables]
        with model.draws.kept() as drawn:
            step = model.loss_terms(*batch, training=True)
        self.traced[key] = _traced(model, leaves, structure, before, drawn, step)
        return step


def _traced(model, leaves, structure, before, drawn, step):
    """Function of a batch's leaves -> what `loss_terms` gives for it; `None` where that does more than operations.

    Args:
        leaves, structure: of the batch.
        before: values of the variables that are not trained, before the step.
        drawn: its random numbers, (shape, seed, values) each.
        step: what it gave.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # which takes a second

    trained, state = model.trainable_variables, model.non_trainable_variables
    variables = [*trained, *state]

    def pure(leaves, noise, values):
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope, model.draws.given(noise):
            terms = model.loss_terms(*pytree.tree_unflatten(leaves, structure), training=True)
        if len(scope.state_mapping) > len(variables):
            raise RuntimeError("a variable that is not the model's has changed")
        return tuple(terms), [scope.get_current_value(variable) for variable in state]

    values = [*(variable.value for variable in trained), *before]
    requests, noise = [each[:2] for each in drawn], [each[2] for each in drawn]
    seeds = {id(seed.state) for _, seed in requests}
    after = [old if id(variable) in seeds else variable.value for variable, old in zip(state, before, strict=True)]
    try:
        function = make_fx(pure)(leaves, noise, values)
        _merge_metrics(function.graph, losses=len(step.losses))
        function.graph.eliminate_dead_code()
        function.recompile()
        if not _same(trained, (tuple(step), after), function(leaves, noise, values)):
            return None
    except Exception:  # of whatever a layer does that is not an operation
        return None

    def replay(leaves):
        noise = [model.draws.normal(*request) for request in requests]
        values = [variable.value for variable in variables]
        terms, after = function(leaves, noise, values)
        for variable, new in zip(state, after, strict=True):
            if new is not variable.value:
                variable.assign(new)
        return type(step)(*terms)

    return replay


def _merge_metrics(graph, losses: int) -> None:
    """Lets metrics use what the losses compute as well. What only losses compute stays as it is: to merge it would add
    its gradients in another order, and so with other bits.

    Args:
        losses: how many of the first outputs are losses.
    """
    *_, output = graph.nodes
    waiting, differentiated = list(output.args[0][:losses]), set()
    while waiting:
        node = waiting.pop()
        if node not in differentiated:
            differentiated.add(node)
            waiting += node.all_input_nodes
    first = {}
    for node in graph.nodes:
        what = (node.target, str(node.args), str(node.kwargs))
        if node in differentiated:
            first.setdefault(what, node)
        elif node.op == "call_function" and what in first:
            node.replace_all_uses_with(first[what])


def _same(trained, expected, found) -> bool:
    """Whether values and gradients are the same, up to rounding."""
    pairs = list(zip(pytree.tree_leaves(expected), pytree.tree_leaves(found), strict=True))
    weights = [variable.value for variable in trained]
    for one, other in zip(expected[0][0], found[0][0], strict=True):
        gradients = (torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in (one, other))
        pairs += zip(*gradients, strict=True)
    with torch.no_grad():
        return all(_close(*pair) for pair in pairs)


def _close(one, other) -> bool:
    if one is None or other is None:
        return one is other
    one, other = one.float(), other.float()
    return one.shape == other.shape and bool(torch.norm(one - other) <= CLOSE * torch.norm(one))
