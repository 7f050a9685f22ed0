"""The load suite: servers under `h2load`, side by side."""
