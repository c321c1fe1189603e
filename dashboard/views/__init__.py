"""One module a page, each with ``page()``. Not called ``pages``: Streamlit would run its files."""
