"""What model calls cost, and what may be spent: pure arithmetic, and the seam through which one place decides for the whole cluster."""
