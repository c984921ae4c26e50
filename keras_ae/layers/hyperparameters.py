"""Numbers that a training may change."""

import keras


class Hyperparameters(keras.layers.Layer):
    """Scalars that act in a compiled step as soon as they are assigned: variables, which no file of weights holds.

    Python numbers would be constants of the graph on TensorFlow and JAX.

    >>> settings = Hyperparameters(beta=1.0)
    >>> settings["beta"] = 0.1
    >>> settings["beta"]
    0.1
    """

    def __init__(self, **values: float):
        super().__init__(dtype="float32")
        self.numbers = {
            name: self.add_weight(name=name, shape=(), initializer=keras.initializers.Constant(value), trainable=False)
            for name, value in values.items()
        }
        self.built = True

    def __getitem__(self, name: str) -> float:
        # By its digits: 0.1 in float32 is the number that was assigned as 0.1.
        return float(str(keras.ops.convert_to_numpy(self.numbers[name].value)))

    def __setitem__(self, name: str, value: float):
        self.numbers[name].assign(value)

    @property
    def weights(self):
        return []

    def save_own_variables(self, store):
        """Nothing: the config of the model says what they are."""

    def load_own_variables(self, store):
        """The same."""
