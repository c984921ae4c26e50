"""What TensorFlow's converter to LiteRT is told."""

import tensorflow as tf

HALF = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}  # of weights
