"""Web pages: the latent explorer and the blinded preference study."""
