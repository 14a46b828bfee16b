"""Training: what one step optimises, the loop around it, and everything that keeps a run safe."""
