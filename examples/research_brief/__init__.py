"""Notes from many texts, ranked, written up, approved."""
