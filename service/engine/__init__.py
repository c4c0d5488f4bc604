"""A loaded model: masks, samples, their summary, and the decisions that rest on them."""
