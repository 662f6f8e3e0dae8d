"""Live views of codes for JupyterLab."""
