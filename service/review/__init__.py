"""The prediction log, written by `service.review.log`, and its review and labels, in `service.review.review`."""
