"""What did that merge do to the word error rate? Train every merge, archive the result, publish the page."""

__version__ = "1.0.0"
