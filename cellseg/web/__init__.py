"""A page to try a model in a browser; `page` and `server` need Gradio (requirements-web.txt)."""
