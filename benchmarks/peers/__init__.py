"""Kedge beside other servers and other drift libraries that install from the package index."""
