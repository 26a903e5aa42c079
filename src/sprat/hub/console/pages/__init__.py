"""One module per page: parameters, a query, a template."""
