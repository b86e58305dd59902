"""What the commands do once their flags are parsed; these modules import PyTorch and the rest."""
