"""A learned ranker of the values of a page: which text answers which asked field, or that none does."""
