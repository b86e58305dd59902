"""A page to try a model in a browser; `page` and `server` need Gradio (extra `web`)."""
