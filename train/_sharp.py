"""The flags of a training for sharp images, and the model that they make."""

from pathlib import Path

import _types

RATE = 3e-4  # of the discriminator's Adam


def add_sharp(parser) -> None:
    add = parser.add_argument_group("sharper images").add_argument
    add(
        "--features",
        type=Path,
        metavar="FILE",
        help="a network whose features count, such as train/classifier.py writes",
    )
    add("--feature-layers", metavar="A,B", help="its layers (default: features_1, features_2 ..., or its outputs)")
    add(
        "--features-weight",
        type=_types.not_negative,
        default=0.01,
        help="of their distance, for each value of an image",
    )
    add(
        "--adversarial", type=_types.not_negative, default=0.0, help="weight of a discriminator, such as 0.001; 0: none"
    )
    add("--adversarial-ramp", type=_types.not_negative, default=1.0, help="epochs over which that weight grows from 0")


def sharp_fit(args, vae, steps: int):
    """The VAE, or what trains it with features and a discriminator; and how many optimizers it takes.

    Args:
        steps: of an epoch.
    """
    from keras_ae import models, networks, objectives, saving

    features = adversarial = None
    if args.features:
        network = saving.load_network(args.features)
        layers = args.feature_layers and args.feature_layers.split(",")
        features = objectives.FeatureDistance(network, layers, args.features_weight)
    if args.adversarial:
        discriminator = networks.build_discriminator(vae.image_shape)
        adversarial = objectives.Adversarial(discriminator, args.adversarial, round(args.adversarial_ramp * steps))
    if not (features or adversarial):
        return vae
    return models.SharpFit(vae, features=features, adversarial=adversarial)


def optimizers(args, model, steps: int):
    """The recipe's, and Adam for a discriminator."""
    import keras

    from keras_ae.optimizers import recipe

    own = recipe(steps, args.epochs, args.learning_rate, args.clip_norm)
    if len(model.variables_by_loss()) == 1:
        return own
    return [own, keras.optimizers.Adam(RATE, beta_1=0.5)]
