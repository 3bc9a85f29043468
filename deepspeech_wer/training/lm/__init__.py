"""Language models of words: n-grams, their files, and the beam search that uses them."""
