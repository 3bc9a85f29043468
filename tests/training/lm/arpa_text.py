"""An ARPA file in parts, for models whose sums can be done in the head: P and back-off weights are powers of ten."""

UNIGRAMS = """\
\\1-grams:
-99\t<s>\t-1
-2\t</s>
-1\tyes\t-0.5
-1.5\tno\t-0.25
-3\t<unk>
"""
BIGRAM_MODEL = f"""\
\\data\\
ngram 1=5
ngram 2=3

{UNIGRAMS}
\\2-grams:
-0.25\t<s> yes
-0.5\tyes no
-0.375\tno </s>

\\end\\
"""
TRIGRAM_MODEL = f"""\
\\data\\
ngram 1=5
ngram 2=3
ngram 3=1

{UNIGRAMS}
\\2-grams:
-0.25\t<s> yes\t-0.125
-0.5\tyes no\t-0.75
-0.375\tno </s>

\\3-grams:
-0.0625\t<s> yes no

\\end\\
"""
