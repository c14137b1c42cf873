"""Language models with instructions and tools: the loop, its providers, its tools, and the simulated model."""
