"""The pages: each a function of the site and a request, with a template of the same name."""
