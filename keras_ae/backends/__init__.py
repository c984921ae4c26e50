"""The one place where backends differ: a file for each, with the same functions.

    on_device(images, ...)         what makes batches where the model is, at once; `None` where NumPy makes them ahead
    train_step(model, ...)         gradients of `model.loss_terms`, guarded against non-finite numbers
    test_step(model, ...)          the same terms without gradients
    call(network, inputs, ...)     a network's outputs, sooner if it can
    traced_losses(model)           `model.loss_terms` in training, sooner after a while; `None` where steps are compiled
    speed_up(optimizer)            makes its update faster, if it can; the values are the same up to rounding
    has_bfloat16()                 whether the device computes faster in bfloat16 than in float32
    tune_gpu()                     float32 on tensor cores and autotuned convolutions; called by the scripts
    conv2d(x, kernel, bias, ...)   the stock convolution, faster; `None` where the stock one is to be used
    conv2d_transpose(x, ...)       likewise
    depthwise_conv2d(x, ...)       likewise

The steps have the arguments and results of `keras.Model.train_step` on that backend. What they ask of a model
is `models.guarded.GuardedModel`. A step

- takes the gradient of each of the model's losses with respect to that loss's own variables,
- keeps all that it computed where every loss and gradient is finite, or nothing of it (weights, optimizers, seeds,
  running statistics, metrics), and counts the steps that it skipped,
- waits for no device: whether it was skipped stays a tensor.

What several devices need stands in `devices/`, also a file for each.

Nothing outside this folder imports a framework.
"""

import importlib

import keras

_backend = importlib.import_module(f"keras_ae.backends.{keras.backend.backend()}")
_devices = importlib.import_module(f"keras_ae.backends.devices.{keras.backend.backend()}")

on_device = _backend.on_device
has_bfloat16 = _backend.has_bfloat16
tune_gpu = _backend.tune_gpu
train_step = _backend.train_step
test_step = _backend.test_step
call = _backend.call
traced_losses = _backend.traced_losses
speed_up = _backend.speed_up
conv2d = _backend.conv2d
conv2d_transpose = _backend.conv2d_transpose
depthwise_conv2d = _backend.depthwise_conv2d

start = _devices.start
world = _devices.world
is_first = _devices.is_first
once = _devices.once
highest = _devices.highest
is_lost = _devices.is_lost
replicated = _devices.replicated
synchronise = _devices.synchronise
feed = _devices.feed
predict = _devices.predict
mine = _devices.mine
total = _devices.total
gather = _devices.gather
own = _devices.own
