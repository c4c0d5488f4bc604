"""How often a second the playground shows a new answer while somebody moves a slider."""
