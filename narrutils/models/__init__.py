"""What reads a case: tokens, backbones, classifiers, linear models."""
