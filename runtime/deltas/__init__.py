"""What models say while they say it: pieces of text on their way from the process that asks a model to whoever follows the run.

They pass outside the journal, which gets the final message alone. Nothing here waits for anybody: whoever is too slow loses pieces and is
told so, and where nobody follows there is nothing to do.
"""
