"""What CPUs compute by kernels of this package's own: attention, linear layers, and whole blocks without gradients."""
