"""What was answered, kept; and what persons say of it. `service.review.log` writes, `service.review.review` reads."""
