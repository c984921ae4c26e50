"""What a trained model is worth on images that it was not trained on."""
