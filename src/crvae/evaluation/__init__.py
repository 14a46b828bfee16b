"""What a trained model is worth: scores of images, likelihood, cost, and the paper's tables side by side."""
