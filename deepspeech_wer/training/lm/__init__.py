"""Language models: n-grams, ARPA files, decoding with them."""
